"""One way to call both of the SDK's faces: every call of the synchronous one runs in a thread and can be awaited."""

import asyncio
import base64
import os
import sys
import traceback

import e2b
import e2b_code_interpreter

SYNC = sys.argv[1] == "sync"
# Calls that the asynchronous face answers at once.
AT_ONCE = {"get_host", "download_url", "upload_url", "list_snapshots"}


def ours(value):
    return type(value).__module__.split(".")[0] in ("e2b", "e2b_code_interpreter") and not isinstance(value, BaseException)


class Awaited:
    """A synchronous object of the SDK as the asynchronous one would be."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        value = getattr(self._target, name)
        at_once = name in AT_ONCE or (name == "list" and isinstance(self._target, type))
        if not callable(value):
            return wrap(value)
        if at_once:
            return lambda *given, **named: wrap(value(*given, **named))

        async def call(*given, **named):
            return wrap(await asyncio.to_thread(value, *given, **named))

        return call


def wrap(value):
    if isinstance(value, list):
        return [wrap(item) for item in value]
    acts = hasattr(value, "next_items") or any(hasattr(value, name) for name in ("kill", "run", "write", "init", "stop", "wait"))
    return Awaited(value) if SYNC and ours(value) and acts else value


if SYNC:
    Sandbox, CodeSandbox = Awaited(e2b.Sandbox), Awaited(e2b_code_interpreter.Sandbox)
else:
    Sandbox, CodeSandbox = e2b.AsyncSandbox, e2b_code_interpreter.AsyncSandbox

URL = os.environ["E2B_API_URL"]
KEY = os.environ["E2B_API_KEY"]


class Fails:
    """`async with Fails(kind, text):` requires this exception, with this in its words."""

    def __init__(self, kind, text=""):
        self.kind, self.text = kind, text

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, _):
        assert error is not None, f"nothing failed, but {self.kind.__name__} was to be raised"
        assert isinstance(error, self.kind), f"{type(error).__name__} instead of {self.kind.__name__}: {error}"
        assert self.text in str(error), f"{error!s} does not say {self.text!r}"
        return True


async def until(question, what, seconds=15):
    """Asks until the answer is true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await question():
        assert asyncio.get_running_loop().time() < deadline, f"it was not {what} within {seconds} s"
        await asyncio.sleep(0.05)


def run(checks):
    """Runs the checks side by side, prints what failed, and ends the program."""

    async def one(check):
        try:
            await asyncio.wait_for(check(), 100)
        except BaseException:
            print(f"FAILED {check.__name__}\n{traceback.format_exc()}")
            return False
        return True

    async def all_of_them():
        return [await result for result in [asyncio.ensure_future(one(check)) for check in checks]]

    passed = asyncio.run(all_of_them())
    print(f"{sum(passed)} of {len(passed)} checks passed")
    sys.stdout.flush()
    os._exit(0 if all(passed) else 1)


def basic(user):
    return "Basic " + base64.b64encode(f"{user}:".encode()).decode()
