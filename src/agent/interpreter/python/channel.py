# The driver's parts run in one namespace, one after the other; each imports what it uses. They need Python 3.8 or later and
# nothing but its standard library. CONTROL is the descriptor of the agent's socket.
#
# This part: what the driver tells the agent, one JSON object a line, and interrupts.
import json
import os
import signal
import socket
import threading

# The longest line. What would be longer is left out of a result.
LINE_BOUND = 16 << 20


class Channel:
    """The connection to the agent. Lines are whole, also when threads, signals and interrupts come between."""

    def __init__(self, descriptor):
        os.set_inheritable(descriptor, False)
        self.socket = socket.socket(fileno=descriptor)
        self.requests = self.socket.makefile("rb")
        self.lock = threading.RLock()
        # The thread that is sending.
        self.sender = None
        self.waiting = []
        # Whether a cell runs, which an interrupt is for.
        self.is_running = False
        self.was_interrupted = False
        self.is_forked = False

    def send(self, message):
        """Sends an object, or a word to the agent itself."""
        if not isinstance(message, str):
            message = json.dumps(message)
        line = message.encode("utf-8", "backslashreplace") + b"\n"
        if self.is_forked or len(line) > LINE_BOUND:
            return False
        with self.lock:
            self.waiting.append(line)
            # The code of a signal's handler may send while a line is being sent.
            if self.sender is not None:
                return True
            self.sender = threading.get_ident()
            try:
                while self.waiting:
                    self.socket.sendall(self.waiting.pop(0))
            finally:
                self.sender = None
        if self.was_interrupted and threading.current_thread() is threading.main_thread():
            self.was_interrupted = False
            raise KeyboardInterrupt
        return True

    def interrupt(self, number, frame):
        """Handles SIGINT."""
        if not self.is_running:
            return
        if self.sender == threading.get_ident():
            self.was_interrupted = True
        else:
            raise KeyboardInterrupt

    def forked(self):
        """Makes a child that a cell has forked write like any other program."""
        self.is_forked = True
        self.lock = threading.RLock()
        os.close(self.socket.detach())


channel = Channel(CONTROL)
signal.signal(signal.SIGINT, channel.interrupt)
os.register_at_fork(after_in_child=channel.forked)
