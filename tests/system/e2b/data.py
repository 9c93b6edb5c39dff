"""The data plane: `data.py sync|async`."""

import asyncio
import io
import urllib.error
import urllib.request

import e2b
import httpx
from e2b import CommandExitException, FilesystemEventType, PtySize

from sdk import SYNC, URL, Fails, Sandbox, basic, run, until


async def with_sandbox(check, **named):
    sandbox = await Sandbox.create("base", timeout=120, **named)
    try:
        await check(sandbox)
    finally:
        await sandbox.kill()


async def commands():
    async def check(sandbox):
        run = sandbox.commands.run
        ran = await run("echo out; echo err >&2; pwd; id -un")
        assert (ran.exit_code, ran.stdout, ran.stderr) == (0, "out\n/home/user\nuser\n", "err\n"), ran
        async with Fails(CommandExitException) as failed:
            await run("echo bad >&2; exit 7")
        try:
            await run("echo bad >&2; exit 7")
        except CommandExitException as error:
            assert (error.exit_code, error.stderr) == (7, "bad\n")
        assert (await run("echo $A $PWD", envs={"A": "b"}, cwd="/tmp")).stdout == "b /tmp\n"
        assert (await run("id -un", user="root")).stdout == "root\n"
        assert (await run("sudo id -un")).stdout == "root\n"
        # Text that ends inside of a letter.
        assert (await run(r"printf 'a\xe2'")).stdout == "a\ufffd"
        assert len((await run("head -c 300000 /dev/zero | tr '\\0' x")).stdout) == 300000
        async with Fails(e2b.TimeoutException):
            await run("sleep 10", timeout=1)
        out, seen = [], []
        await run("echo a; echo b >&2", on_stdout=out.append, on_stderr=seen.append)
        assert "".join(out) == "a\n" and "".join(seen) == "b\n"

        sleeping = await run("exec sleep 1000", background=True)
        listed = await sandbox.commands.list()
        assert sleeping.pid in [process.pid for process in listed], listed
        connected = await sandbox.commands.connect(sleeping.pid)
        assert connected.pid == sleeping.pid
        assert await sandbox.commands.kill(sleeping.pid) is True
        for handle in sleeping, connected:
            async with Fails(CommandExitException):
                await handle.wait()
        assert await sandbox.commands.kill(999999) is False
        async with Fails(e2b.NotFoundException):
            await sandbox.commands.connect(999999)

        cat = await run("cat", background=True, stdin=True)
        await sandbox.commands.send_stdin(cat.pid, "Hello,\nWorld!")
        await sandbox.commands.close_stdin(cat.pid)
        assert (await cat.wait()).stdout == "Hello,\nWorld!"

        # A client that leaves does not end its command.
        leaving = await run("sleep 1; echo done >left", background=True)
        await leaving.disconnect()

        async def done():
            return await sandbox.files.exists("left") and await sandbox.files.read("left") == "done\n"

        await until(done, "done")

    await with_sandbox(check)


async def files():
    async def check(sandbox):
        files = sandbox.files
        written = await files.write("a/b/text.txt", "Hellö")
        assert written.path == "/home/user/a/b/text.txt" and written.name == "text.txt"
        assert await files.read("a/b/text.txt") == "Hellö"
        assert bytes(await files.read("a/b/text.txt", format="bytes")) == "Hellö".encode()
        await files.write("bytes", io.BytesIO(bytes(range(256)) * 4000))
        assert bytes(await files.read("bytes", format="bytes")) == bytes(range(256)) * 4000
        for way in {"gzip": True}, {"use_octet_stream": True}:
            await files.write("way", "through " + str(way), **way)
            assert await files.read("way", **({"gzip": True} if "gzip" in way else {})) == "through " + str(way)
        many = [{"path": f"many/{n}", "data": str(n)} for n in range(10)]
        assert [entry.path for entry in await files.write_files(many)] == [f"/home/user/many/{n}" for n in range(10)]
        assert await files.write_files([]) == []

        info = await files.get_info("a/b/text.txt")
        assert (info.size, info.permissions, info.mode, info.owner, info.group) == (6, "-rw-r--r--", 0o644, "user", "user"), info
        assert info.type == e2b.FileType.FILE and info.symlink_target is None and info.modified_time is not None
        assert [entry.path for entry in await files.list("a")] == ["/home/user/a/b"]
        assert [entry.name for entry in await files.list("a", depth=2)] == ["b", "text.txt"]
        async with Fails(e2b.SandboxException, "depth"):
            await files.list("a", depth=-1)
        assert await files.make_dir("new/nested") is True and await files.make_dir("new/nested") is False
        moved = await files.rename("way", "new/way")
        assert moved.path == "/home/user/new/way" and not await files.exists("way") and await files.exists("new/way")
        await sandbox.commands.run("ln -s text.txt a/b/link")
        assert (await files.get_info("a/b/link")).symlink_target == "/home/user/a/b/text.txt"
        await files.remove("a")
        assert not await files.exists("a")

        marked = await files.write("marked", "x", metadata={"author": "somebody"})
        assert marked.metadata == {"author": "somebody"}, marked
        assert (await files.get_info("marked")).metadata == {"author": "somebody"}
        assert (await files.write("marked", "y")).metadata is None

        for call in files.read("gone"), files.get_info("gone"), files.list("gone"), files.rename("gone", "there"):
            async with Fails(e2b.NotFoundException):
                await call
        async with Fails(e2b.InvalidArgumentException):
            await files.read("new")
        assert "root" in await files.read("/etc/shadow", user="root")
        async with Fails(e2b.SandboxException, "Permission denied"):
            await files.read("/etc/shadow")

    await with_sandbox(check)


async def watches():
    async def check(sandbox):
        await sandbox.files.make_dir("w/n")
        await sandbox.files.write("w/n/old.txt", "x")
        seen = []
        if SYNC:
            watch = await sandbox.files.watch_dir("w", recursive=True)
        else:
            watch = await sandbox.files.watch_dir("w", on_event=seen.append, recursive=True)
        await sandbox.files.write("w/n/new.txt", "x")
        await sandbox.files.remove("w/n/old.txt")

        async def told():
            if SYNC:
                seen.extend(await watch.get_new_events())
            kinds = {(event.type, event.name) for event in seen}
            wanted = {
                (FilesystemEventType.CREATE, "n/new.txt"),
                (FilesystemEventType.WRITE, "n/new.txt"),
                (FilesystemEventType.REMOVE, "n/old.txt"),
            }
            return wanted <= kinds

        await until(told, "told")
        await watch.stop()
        nothing = {} if SYNC else {"on_event": lambda event: None}
        async with Fails(e2b.NotFoundException):
            await sandbox.files.watch_dir("gone", **nothing)
        async with Fails(e2b.SandboxException):
            await sandbox.files.watch_dir("w/n/new.txt", **nothing)

    await with_sandbox(check)


async def terminals():
    async def check(sandbox):
        shown = []
        later = {} if SYNC else {"on_data": shown.append}
        terminal = await sandbox.pty.create(PtySize(rows=24, cols=80), envs={"ABC": "123"}, cwd="/tmp", **later)
        await sandbox.pty.resize(terminal.pid, PtySize(rows=30, cols=101))
        await sandbox.pty.send_stdin(terminal.pid, b"echo $ABC in $PWD; stty size; exit\n")
        await terminal.wait(**({"on_pty": shown.append} if SYNC else {}))
        text = b"".join(shown).decode()
        assert "123 in /tmp" in text and "30 101" in text, text
        terminal = await sandbox.pty.create(PtySize(rows=24, cols=80), **({} if SYNC else {"on_data": shown.append}))
        assert await sandbox.pty.kill(terminal.pid) is True
        assert await sandbox.pty.kill(999999) is False

    await with_sandbox(check)


async def versions():
    """git through the SDK."""

    async def check(sandbox):
        git = sandbox.git
        await git.init("repository", initial_branch="main")
        await git.configure_user("Somebody", "somebody@example.com")
        await sandbox.files.write("repository/README.md", "hello\n")
        assert [entry.status for entry in (await git.status("repository")).file_status] == ["untracked"]
        await git.add("repository", all=True)
        await git.commit("repository", message="First")
        await git.create_branch("repository", "feature")
        assert (await git.branches("repository")).current_branch == "feature"
        assert (await git.status("repository")).is_clean
        await git.clone("/home/user/repository", "clone")
        assert await sandbox.files.read("clone/README.md") == "hello\n"

    await with_sandbox(check)


async def signed_addresses():
    async def check(sandbox):
        def fetch(address, **named):
            with urllib.request.urlopen(urllib.request.Request(address, **named), timeout=30) as answer:
                return answer.read()

        await sandbox.files.write("signed.txt", "signed")
        for expiration in None, 60:
            address = sandbox.download_url("signed.txt", "user", use_signature_expiration=expiration)
            assert await asyncio.to_thread(fetch, address) == b"signed"
        expired = sandbox.download_url("signed.txt", "user", use_signature_expiration=-60)
        for address, status in (expired, 401), (address.replace("signed.txt", "other.txt"), 401):
            try:
                await asyncio.to_thread(fetch, address)
                assert False, address
            except urllib.error.HTTPError as error:
                assert error.code == status, (error.code, error.read())
        upload = sandbox.upload_url("up.txt", "user")
        body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="up.txt"\r\n\r\nup\r\n--B--\r\n'
        await asyncio.to_thread(fetch, upload, data=body, headers={"Content-Type": "multipart/form-data; boundary=B"})
        assert await sandbox.files.read("up.txt") == "up"

    await with_sandbox(check)


SERVER = """python3 -c '
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode() + b" " + self.path.encode() + b" " + body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
'"""


async def ports():
    open_to_all = await Sandbox.create("base", timeout=120)
    closed = await Sandbox.create(
        "base", timeout=120, network={"allow_public_traffic": False, "mask_request_host": "masked.example.com:${PORT}"}
    )
    try:
        async with httpx.AsyncClient(base_url=URL, timeout=30) as client:

            async def ask(sandbox, port, **headers):
                named = {"E2b-Sandbox-Id": sandbox.sandbox_id, "E2b-Sandbox-Port": str(port)}
                return await client.post("/some/path?q=1", content=b"body", headers=named | headers)

            for sandbox in open_to_all, closed:
                await sandbox.commands.run(SERVER, background=True)
                await sandbox.commands.run("until curl -s localhost:8000; do sleep 0.05; done", timeout=30)
            answer = await ask(open_to_all, 8000)
            assert answer.status_code == 200 and answer.text.endswith(" /some/path?q=1 body"), answer.text
            answer = await ask(open_to_all, 3000)
            expected = {"sandboxId": open_to_all.sandbox_id, "message": "The sandbox is running but port is not open", "port": 3000, "code": 502}
            assert (answer.status_code, answer.json()) == (502, expected), answer.text
            assert closed.traffic_access_token and not open_to_all.traffic_access_token
            assert (await ask(closed, 8000)).status_code == 403
            assert (await ask(closed, 8000, **{"e2b-traffic-access-token": "wrong"})).status_code == 403
            answer = await ask(closed, 8000, **{"e2b-traffic-access-token": closed.traffic_access_token})
            assert answer.status_code == 200 and answer.text.startswith("masked.example.com:8000 "), answer.text
            # Half of the headers, or a port that is none.
            assert (await client.get("/", headers={"E2b-Sandbox-Id": closed.sandbox_id})).status_code == 400
            assert (await ask(open_to_all, "http")).status_code == 400
            # The agent asks for its token.
            answer = await ask(open_to_all, 49983, Authorization=basic("user"))
            assert answer.status_code == 401, answer.text
            await open_to_all.kill()
            answer = await ask(open_to_all, 8000)
            assert (answer.status_code, answer.json()["message"]) == (502, "The sandbox was not found"), answer.text
    finally:
        await open_to_all.kill()
        await closed.kill()


async def ends_under_work():
    sandbox = await Sandbox.create("base", timeout=120)
    try:
        command = await sandbox.commands.run("sleep 1000", background=True)
        waiting = asyncio.ensure_future(command.wait())
        await asyncio.sleep(0.5)
        await sandbox.kill()
        async with Fails(e2b.TimeoutException):
            await asyncio.wait_for(waiting, 10)
        async with Fails(e2b.TimeoutException, "sandbox"):
            await sandbox.commands.run("true")
    finally:
        await sandbox.kill()


if __name__ == "__main__":
    run([commands, files, watches, terminals, versions, signed_addresses, ports, ends_under_work])
