# This part: runs cells, one after the other, in the module `__main__`.
import __future__

import asyncio
import builtins
import functools
import inspect
import linecache

# Names of the future that earlier cells have imported hold for later ones, as on an interactive Python.
FUTURE = functools.reduce(int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names))
FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT

# Prints up to this are one write, and so one object of the answer.
BUFFER = 1 << 18

count = 0
loop = None


def stream(descriptor):
    """A stream that passes lines on at once."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    buffered = io.BufferedWriter(raw, BUFFER)
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)


streams = [stream(1), stream(2)]
real_print = builtins.print


@functools.wraps(real_print)
def whole_print(*values, sep=None, end=None, file=None, flush=False):
    """Prints as one write, so that it is one object of the answer."""
    to = sys.stdout if file is None else file
    is_text = all(part is None or isinstance(part, str) for part in (sep, end))
    if not is_text or not any(to is one for one in streams):
        real_print(*values, sep=sep, end=end, file=file, flush=flush)
        return
    text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
    to.flush()
    to.buffer.write(text.encode(to.encoding, to.errors))
    to.buffer.flush()


def no_input(prompt=""):
    raise EOFError("input() has nobody to answer it here: put the value into the code")


def run_module(module, name, text):
    """Runs a parsed cell. Returns the value of its last expression, unless a semicolon follows it."""
    statements = module.body
    last = None
    if statements and isinstance(statements[-1], ast.Expr) and not text.rstrip().endswith(";"):
        last = statements[-1]
        statements = statements[:-1]
    value = None
    if statements:
        module.body = statements
        run_code(compile(module, name, "exec", FLAGS, True))
    if last is not None:
        value = run_code(compile(ast.Expression(last.value), name, "eval", FLAGS, True))
    return value


def run_code(code):
    global FLAGS, loop
    FLAGS |= code.co_flags & FUTURE
    value = eval(code, namespace)
    if not code.co_flags & inspect.CO_COROUTINE:
        return value
    if loop is None or loop.is_closed():
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    task = loop.create_task(value)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        raise


def run_text(text):
    """Runs code inside of a cell, as magics do."""
    name = "<cell {}>".format(count)
    text, module = translated(text, name)
    return run_module(module, name, text)


def run_cell(code):
    name = "<cell {}>".format(count)
    code = dedented(code)
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    text, module = translated(code, name)
    value = run_module(module, name, text)
    if value is not None:
        builtins._ = value
        show(value, True)


def list_frames(frame):
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.tb_next
    return frames


def tell_error(error):
    kind = type(error)
    # Those of the driver and of the event loop come first.
    frames = list_frames(error.__traceback__)
    is_cells = [frame.tb_frame.f_code.co_filename.startswith("<cell ") for frame in frames]
    is_drivers = [frame.tb_frame.f_code.co_filename == "<sandglass>" for frame in frames]
    if True in is_cells:
        frames = frames[is_cells.index(True) :]
    elif is_drivers and all(is_drivers):
        frames = []
    try:
        value = str(error)
    except Exception:
        value = "<{} whose text cannot be made>".format(kind.__name__)
    try:
        lines = traceback.format_exception(kind, error, frames[0] if frames else None)
    except Exception:
        lines = ["{}: {}\n".format(kind.__name__, value)]
    told = {"type": "error", "name": kind.__name__, "value": value[:1 << 20], "traceback": "".join(lines)[: 1 << 20]}
    channel.send(told)


def attempt(work):
    """Does a part of a cell. Its failure is told, and returned as False."""
    try:
        channel.is_running = True
        work()
        channel.is_running = False
        return True
    except BaseException as error:
        channel.is_running = False
        if not channel.is_forked:
            tell_error(error)
        elif not isinstance(error, SystemExit):
            traceback.print_exc()
        return False


def run_request(request):
    global count
    count += 1
    before = {name: os.environ.get(name) for name in request["variables"]}
    os.environ.update(request["variables"])
    try:
        is_done = attempt(lambda: run_cell(request["code"]))
        if channel.is_forked:
            flush()
            os._exit(0 if is_done else 1)
        attempt(show_figures)
    finally:
        del shown_figures[:]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def flush():
    for one in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        try:
            one.flush()
        except Exception:
            # A cell may have closed or replaced it.
            pass


def ready_namespace():
    module = types.ModuleType("__main__")
    module.__dict__.update(__builtins__=builtins, display=display)
    builtins.print = whole_print
    builtins.input = no_input
    builtins.__sandglass_shell__ = run_shell
    builtins.__sandglass_lines__ = run_lines
    builtins.__sandglass_magic__ = magic
    builtins.__sandglass_cell_magic__ = cell_magic
    sys.modules["__main__"] = module
    sys.argv[:] = [""]
    sys.stdout = sys.__stdout__ = streams[0]
    sys.stderr = sys.__stderr__ = streams[1]
    return module.__dict__


def main():
    channel.send("ready")
    for line in channel.requests:
        request = json.loads(line)
        channel.send("begun")
        try:
            run_request(request)
        except BaseException as error:
            # An interrupt may come a moment too late.
            channel.is_running = False
            tell_error(error)
        flush()
        channel.send("done 0")


namespace = ready_namespace()
main()
