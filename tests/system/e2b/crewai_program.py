"""The tools of crewai-tools work in sandboxes: a new one for a call, and one that a tool keeps."""

import base64
import os

from crewai_tools import E2BExecTool, E2BFileTool, E2BPythonTool

ran = E2BExecTool(template="base").run(command="echo $A; pwd", envs={"A": "b"}, cwd="/tmp")
assert (ran["exit_code"], ran["stdout"]) == (0, "b\n/tmp\n"), ran

files = E2BFileTool(template="base", persistent=True)
try:
    assert files.run(action="append", path="/home/user/d/a.txt", content="one\n")["total_bytes"] == 4
    assert files.run(action="write", path="/home/user/d/a.txt", content="one\ntwo\n")["status"] == "written"
    assert files.run(action="read", path="/home/user/d/a.txt")["content"] == "one\ntwo\n"
    encoded = base64.b64encode(bytes(range(256))).decode()
    files.run(action="write", path="/home/user/d/b", content=encoded, binary=True)
    assert files.run(action="read", path="/home/user/d/b", binary=True)["content"] == encoded
    assert [entry["name"] for entry in files.run(action="list", path="/home/user/d")["entries"]] == ["a.txt", "b"]
    assert files.run(action="info", path="/home/user/d/a.txt")["size"] == 8
    assert files.run(action="mkdir", path="/home/user/e")["created"] is True
    files.run(action="delete", path="/home/user/d/a.txt")
    assert files.run(action="exists", path="/home/user/d/a.txt")["exists"] is False
finally:
    files.close()

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
