"""The tools of crewai-tools work in sandboxes: new ones for each call, one of their own, and one that exists."""

import base64
import os

from crewai_tools import E2BExecTool, E2BFileTool, E2BPythonTool
from e2b import Sandbox

ran = E2BExecTool(template="base").run(command="echo $A; pwd", envs={"A": "b"}, cwd="/tmp")
assert (ran["exit_code"], ran["stdout"]) == (0, "b\n/tmp\n"), ran

sandbox = Sandbox.create("base", timeout=120)
try:
    files = E2BFileTool(sandbox_id=sandbox.sandbox_id)
    assert files.run(action="write", path="/home/user/d/a.txt", content="one\n")["status"] == "written"
    assert files.run(action="append", path="/home/user/d/a.txt", content="two\n")["total_bytes"] == 8
    assert files.run(action="read", path="/home/user/d/a.txt")["content"] == "one\ntwo\n"
    encoded = base64.b64encode(bytes(range(256))).decode()
    files.run(action="write", path="/home/user/d/b", content=encoded, binary=True)
    assert files.run(action="read", path="/home/user/d/b", binary=True)["content"] == encoded
    assert [entry["name"] for entry in files.run(action="list", path="/home/user/d")["entries"]] == ["a.txt", "b"]
    assert files.run(action="info", path="/home/user/d/a.txt")["size"] == 8
    assert files.run(action="mkdir", path="/home/user/e")["created"] is True
    files.run(action="delete", path="/home/user/d/a.txt")
    assert files.run(action="exists", path="/home/user/d/a.txt")["exists"] is False
    assert sandbox.files.exists("/home/user/e")
finally:
    sandbox.kill()

python = E2BPythonTool(persistent=True)
try:
    python.run(code="x = 41")
    ran = python.run(code="print(x); x + 1")
    assert "41" in str(ran) and "42" in str(ran), ran
    ran = python.run(code="1 / 0")
    assert "ZeroDivisionError" in str(ran), ran
finally:
    python.close()
print("passed")
# The packages' threads would otherwise be waited for.
os._exit(0)
