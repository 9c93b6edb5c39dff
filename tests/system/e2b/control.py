"""The control plane: `control.py sync|async`."""

import asyncio
import datetime

import e2b
import httpx

from sdk import KEY, URL, Fails, Sandbox, run, until


def gap(later, earlier):
    return (later - earlier).total_seconds()


async def a_life():
    sandbox = await Sandbox.create("base", timeout=60, metadata={"owner": "a b&c=d", "kind": "life"}, envs={"FOO": "bar"})
    try:
        assert sandbox.sandbox_id and "-" not in sandbox.sandbox_id and "." not in sandbox.sandbox_id
        assert await sandbox.is_running()
        info = await sandbox.get_info()
        assert info.sandbox_id == sandbox.sandbox_id and info.template_id == "base"
        assert info.metadata == {"owner": "a b&c=d", "kind": "life"}, info.metadata
        assert info.state == e2b.SandboxState.RUNNING
        assert 55 < gap(info.end_at, datetime.datetime.now(datetime.timezone.utc)) <= 60.5, info.end_at
        assert (await sandbox.commands.run("echo $FOO")).stdout == "bar\n"
        await sandbox.set_timeout(100)
        longer = (await sandbox.get_info()).end_at
        assert 39 < gap(longer, info.end_at) < 60
        # Connecting only lengthens; setting may shorten.
        other = await Sandbox.connect(sandbox.sandbox_id, timeout=10)
        assert await other.is_running() and (await sandbox.get_info()).end_at == longer
        await Sandbox.connect(sandbox.sandbox_id, timeout=300)
        assert gap((await sandbox.get_info()).end_at, longer) > 190
        await sandbox.set_timeout(30)
        assert gap(longer, (await sandbox.get_info()).end_at) > 50
        metrics = []

        async def measured():
            metrics[:] = await sandbox.get_metrics()
            return metrics

        await until(measured, "measured")
        last = metrics[-1]
        assert last.cpu_count >= 1 and 0 < last.mem_used <= last.mem_total and 0 < last.disk_used <= last.disk_total, last
        assert await sandbox.kill() is True
        assert await sandbox.kill() is False
        assert not await sandbox.is_running()
    finally:
        await sandbox.kill()


async def timeouts_end():
    sandbox = await Sandbox.create("base", timeout=60)
    try:
        await sandbox.set_timeout(0)
        await until(lambda: ended(sandbox), "ended by a timeout of nothing")
        async with Fails(e2b.NotFoundException):
            await Sandbox.get_info(sandbox.sandbox_id)
        async with Fails(e2b.NotFoundException):
            await Sandbox.set_timeout(sandbox.sandbox_id, 60)
        async with Fails(e2b.NotFoundException):
            await Sandbox.connect(sandbox.sandbox_id)
        async with Fails(e2b.NotFoundException):
            await Sandbox.pause(sandbox.sandbox_id)
    finally:
        await sandbox.kill()


async def ended(sandbox):
    return not await sandbox.is_running()


async def paused(sandbox):
    return (await sandbox.get_info()).state == e2b.SandboxState.PAUSED


async def pauses():
    sandbox = await Sandbox.create("base", timeout=120)
    try:
        await sandbox.files.write("kept.txt", "kept")
        await sandbox.commands.run("echo $$ >pid; exec sleep 1000", background=True)
        assert await Sandbox.pause(sandbox.sandbox_id) is True
        assert not await sandbox.is_running() and await paused(sandbox)
        assert await Sandbox.pause(sandbox.sandbox_id) is False
        async with Fails(e2b.SandboxException):
            await sandbox.set_timeout(100)
        async with Fails(e2b.SandboxException):
            await sandbox.commands.run("true")
        again = await Sandbox.connect(sandbox.sandbox_id, timeout=60)
        assert again.sandbox_id == sandbox.sandbox_id and await sandbox.is_running()
        # The very processes go on.
        assert (await again.commands.run("kill -0 $(cat pid) && cat kept.txt")).stdout == "kept"
        await Sandbox.pause(sandbox.sandbox_id)
        assert await sandbox.kill() is True
    finally:
        await sandbox.kill()


async def pauses_by_itself():
    asleep = await Sandbox.create("base", timeout=60, lifecycle={"on_timeout": "pause", "auto_resume": False})
    awake = await Sandbox.create("base", timeout=60, lifecycle={"on_timeout": "pause", "auto_resume": True})
    try:
        info = await awake.get_info()
        assert info.lifecycle is None or info.lifecycle["on_timeout"] == "pause", info.lifecycle
        for sandbox in asleep, awake:
            await sandbox.files.write("kept.txt", "kept")
            await sandbox.set_timeout(0)
            await until(lambda: paused(sandbox), "paused by its timeout")
        async with Fails(e2b.SandboxException):
            await asleep.files.read("kept.txt")
        assert await paused(asleep)
        assert await awake.files.read("kept.txt") == "kept"
        assert not await paused(awake)
        await Sandbox.connect(asleep.sandbox_id)
        assert await asleep.files.read("kept.txt") == "kept"
    finally:
        await asleep.kill()
        await awake.kill()


async def lists():
    run = f"list-{datetime.datetime.now().timestamp()}"
    odd = "a b&c=d/ü%"
    sandboxes = [await Sandbox.create("base", timeout=60, metadata={"run": run, "owner": odd, "n": str(n)}) for n in range(3)]
    try:
        await Sandbox.pause(sandboxes[0].sandbox_id)

        async def pages(limit=None, **query):
            paginator = Sandbox.list(query=e2b.SandboxQuery(metadata={"run": run, "owner": odd}, **query), limit=limit)
            found = []
            while paginator.has_next:
                page = await paginator.next_items()
                assert limit is None or len(page) <= limit
                found.extend(page)
            return [sandbox.sandbox_id for sandbox in found]

        newest_first = [sandbox.sandbox_id for sandbox in reversed(sandboxes)]
        assert await pages() == newest_first
        assert await pages(limit=1) == newest_first
        assert await pages(limit=2) == newest_first
        assert await pages(state=[e2b.SandboxState.PAUSED]) == newest_first[2:]
        assert await pages(state=[e2b.SandboxState.RUNNING]) == newest_first[:2]
        paginator = Sandbox.list(query=e2b.SandboxQuery(metadata={"run": run, "n": "7"}))
        assert await paginator.next_items() == [] and not paginator.has_next
    finally:
        for sandbox in sandboxes:
            await sandbox.kill()


async def errors():
    async with Fails(e2b.NotFoundException):
        await Sandbox.get_info("inosuchsandbox")
    async with Fails(e2b.NotFoundException):
        await Sandbox.connect("inosuchsandbox")
    assert await Sandbox.kill("inosuchsandbox") is False
    async with Fails(Exception, "no-such-template"):
        await Sandbox.create("no-such-template", timeout=60)
    async with Fails(e2b.AuthenticationException):
        await Sandbox.create("base", api_key="e2b_" + "0" * 40)
    for refused in (
        {"allow_internet_access": False},
        {"network": {"deny_out": ["8.8.8.8"]}},
        {"volume_mounts": {"/data": "volume"}},
    ):
        async with Fails(e2b.SandboxException, "400"):
            await Sandbox.create("base", timeout=60, **refused)
    async with httpx.AsyncClient(base_url=URL, headers={"X-API-Key": KEY}) as client:
        expectations = [
            (401, await client.get("/sandboxes/inosuchsandbox", headers={"X-API-Key": "e2b_wrong"})),
            (400, await client.get("/sandboxes/Not%20an%20id")),
            (400, await client.post("/sandboxes", json={"templateID": "base", "timeout": 0})),
            (400, await client.post("/sandboxes", content=b"{", headers={"Content-Type": "application/json"})),
            (400, await client.get("/v2/sandboxes?limit=1000")),
            (404, await client.post("/sandboxes/inosuchsandbox/refreshes", json={})),
            (404, await client.get("/sandboxes/inosuchsandbox/logs")),
            (404, await client.get("/sandboxes/inosuchsandbox/metrics")),
            (404, await client.delete("/templates/nosuchsnapshot")),
        ]
        for status, answer in expectations:
            body = answer.json()
            assert answer.status_code == status and body["code"] == status and body["message"], (status, answer.request.url, answer.text)


async def raw_calls():
    """What the SDKs have no call for."""
    async with httpx.AsyncClient(base_url=URL, headers={"X-API-Key": KEY}, timeout=30) as client:
        created = await client.post("/sandboxes", json={"templateID": "base"})
        assert created.status_code == 201, created.text
        path = f"/sandboxes/{created.json()['sandboxID']}"
        try:
            # Without a timeout, the first generation of the call gives fifteen seconds.
            first = (await client.get(path)).json()
            ends, now = datetime.datetime.fromisoformat(first["endAt"]), datetime.datetime.now(datetime.timezone.utc)
            assert 5 < gap(ends, now) <= 15.5, first
            assert (await client.post(path + "/refreshes", json={"duration": 200})).status_code == 204
            assert gap(datetime.datetime.fromisoformat((await client.get(path)).json()["endAt"]), ends) > 150
            logs = await client.get(path + "/logs")
            assert logs.status_code == 200 and isinstance(logs.json()["logs"], list), logs.text
            logs = await client.get("/v2" + path + "/logs")
            assert logs.status_code == 200 and isinstance(logs.json()["logs"], list), logs.text
            assert (await client.post(path + "/resume", json={"timeout": 60})).status_code == 409
            assert (await client.post(path + "/pause", json={})).status_code == 204
            assert (await client.post(path + "/pause", json={})).status_code == 409
            assert (await client.post(path + "/timeout", json={"timeout": 60})).status_code == 404
            assert (await client.post(path + "/refreshes", json={"duration": 60})).status_code == 404
            assert (await client.post(path + "/resume", json={"timeout": 60})).status_code == 201
            assert (await client.post(path + "/connect", json={"timeout": 60})).status_code == 200
        finally:
            assert (await client.delete(path)).status_code == 204
            assert (await client.delete(path)).status_code == 404


if __name__ == "__main__":
    run([a_life, timeouts_end, pauses, pauses_by_itself, lists, errors, raw_calls])
