"""The code interpreter: `interpreter.py sync|async`."""

import asyncio

import e2b
from sdk import CodeSandbox, Fails, run

PLOT = """
    import matplotlib.pyplot as plt
    plt.plot([1, 2, 3])
    plt.show()
    """


async def with_sandbox(check, **named):
    sandbox = await CodeSandbox.create(timeout=120, **named)
    try:
        await check(sandbox)
    finally:
        await sandbox.kill()


async def python():
    async def check(sandbox):
        run = sandbox.run_code
        assert (await sandbox.get_info()).template_id == "code-interpreter-v1"
        assert (await run("1 + 1")).text == "2"
        await run("x = 41")
        ran = await run("x += 1; x")
        assert ran.text == "42" and ran.execution_count == 3 and ran.error is None, ran
        out, errors, results = [], [], []
        ran = await run(
            "import sys\nprint(1)\nprint(2, file=sys.stderr)\n3",
            on_stdout=out.append,
            on_stderr=errors.append,
            on_result=results.append,
        )
        assert [entry.line for entry in out] == ["1\n"] and [entry.line for entry in errors] == ["2\n"] and len(results) == 1
        assert ran.logs.stdout == ["1\n"] and ran.logs.stderr == ["2\n"]
        failed = await run("def f():\n    raise ValueError('bad')\nf()")
        assert (failed.error.name, failed.error.value) == ("ValueError", "bad") and "f()" in failed.error.traceback
        assert (await run("1 +")).error.name == "SyntaxError"
        assert (await run("'text'")).text == "text"
        assert (await run("[1, {'a': 2}]")).results[0].json == [1, {"a": 2}]
        assert "".join((await run("!pwd")).logs.stdout).strip() == "/home/user"
        assert (await run("import asyncio\nawait asyncio.sleep(0)\n'awaited'")).text == "awaited"
        assert (await run("import os; os.getenv('FOO')", envs={"FOO": "cell"})).text == "cell"
        assert (await run("os.getenv('FOO')")).text == "sandbox"
        figure = await run(PLOT)
        assert figure.error is None and figure.results[0].png, figure.error
        table = await run("import pandas\npandas.DataFrame({'a': [1, 2]})")
        assert table.results[0].html and table.results[0].data == {"a": [1, 2]}, table

    await with_sandbox(check, envs={"FOO": "sandbox"})


async def contexts():
    async def check(sandbox):
        assert {"python", "javascript"} <= {context.language for context in await sandbox.list_code_contexts()}
        context = await sandbox.create_code_context(cwd="/tmp")
        listed = (await sandbox.list_code_contexts())[-1]
        assert (listed.id, listed.language, listed.cwd) == (context.id, "python", "/tmp"), listed
        await sandbox.run_code("x = 1", context=context)
        assert (await sandbox.run_code("import os; (x, os.getcwd())", context=context)).text == "(1, '/tmp')"
        assert (await sandbox.run_code("x")).error.name == "NameError"
        await sandbox.restart_code_context(context.id)
        assert (await sandbox.run_code("x", context=context)).error.name == "NameError"
        await sandbox.remove_code_context(context.id)
        assert context.id not in [context.id for context in await sandbox.list_code_contexts()]
        async with Fails(Exception):
            await sandbox.run_code("1", context=context)
        assert (await sandbox.run_code("echo $((40 + 2)); cd /tmp", language="bash")).logs.stdout == ["42\n"]
        assert (await sandbox.run_code("pwd", language="bash")).logs.stdout == ["/tmp\n"]
        assert (await sandbox.run_code("let y = 41; y + 1", language="js")).text == "42"
        assert (await sandbox.run_code("console.log(y)", language="javascript")).logs.stdout == ["41\n"]
        async with Fails(Exception):
            await sandbox.run_code("1", language="cobol")

    await with_sandbox(check, network={"allow_public_traffic": False})


async def interrupts():
    async def check(sandbox):
        await sandbox.run_code("x = 1")
        async with Fails(e2b.TimeoutException):
            await sandbox.run_code("import time; time.sleep(60)", timeout=1)
        # The cell was interrupted and its names are still there.
        assert (await sandbox.run_code("x", timeout=10)).text == "1"
        running = asyncio.ensure_future(sandbox.run_code("import time; time.sleep(60)"))
        await asyncio.sleep(1)
        await sandbox.kill()
        async with Fails(e2b.TimeoutException, "killed"):
            await asyncio.wait_for(running, 10)

    await with_sandbox(check)


if __name__ == "__main__":
    run([python, contexts, interrupts])
