"""Snapshots and forks: `snapshots.py sync|async`."""

import uuid

import e2b
from e2b import SandboxQuery

from sdk import Fails, Sandbox, run


async def snapshots():
    mark = {"run": str(uuid.uuid4())}
    sandbox = await Sandbox.create("base", timeout=120, metadata=mark)
    made, snapshot = [], None
    try:
        await sandbox.files.write("kept.txt", "before")
        snapshot = await sandbox.create_snapshot()
        await sandbox.files.write("kept.txt", "after")
        copy = await Sandbox.create(snapshot.snapshot_id, timeout=60)
        made.append(copy)
        assert await copy.files.read("kept.txt") == "before" and await sandbox.files.read("kept.txt") == "after"
        assert (await copy.commands.run("id -un; pwd")).stdout == "user\n/home/user\n"
        pages = Sandbox.list_snapshots(sandbox_id=sandbox.sandbox_id)
        assert [entry.snapshot_id for entry in await pages.next_items()] == [snapshot.snapshot_id]
        # It is no sandbox.
        listed = await Sandbox.list(query=SandboxQuery(metadata=mark)).next_items()
        assert [entry.sandbox_id for entry in listed] == [sandbox.sandbox_id], listed
        forks = await sandbox.fork(count=2, timeout=60)
        made.extend(forks)
        for fork in forks:
            assert fork.sandbox_id != sandbox.sandbox_id and await fork.files.read("kept.txt") == "after"
        await forks[0].files.write("kept.txt", "of the fork")
        assert await forks[1].files.read("kept.txt") == "after" and await sandbox.files.read("kept.txt") == "after"
        for one in made:
            await one.kill()
        assert await Sandbox.delete_snapshot(snapshot.snapshot_id) is True
        assert await Sandbox.delete_snapshot(snapshot.snapshot_id) is False
        async with Fails(Exception):
            await Sandbox.create(snapshot.snapshot_id, timeout=60)
        await sandbox.kill()
        async with Fails(e2b.NotFoundException):
            await sandbox.fork()
    finally:
        for one in [sandbox, *made]:
            await one.kill()
        if snapshot:
            await Sandbox.delete_snapshot(snapshot.snapshot_id)


if __name__ == "__main__":
    run([snapshots])
