"""What a stranger does first with a client that is generated from the specification."""

import sys

from sandglass_client import AuthenticatedClient
from sandglass_client.api.activity import keep_alive, ping, ping_many
from sandglass_client.api.sandboxes import create_sandbox, delete_sandbox, get_sandbox, list_sandboxes, why
from sandglass_client.models import BatchRequest, CreateRequest, Error, ListSandboxesMetadata, Status

url, key = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True)


def answer(response, status):
    """The answer, which has this status and which the client has understood."""
    assert response.status_code == status, response
    assert response.parsed is not None, response
    return response.parsed


wanted = {"id": "one", "metadata": {"team": "blue", "nested": [1, {"a": None}]}, "user_id": 7, "idle_timeout": 600}
created = answer(create_sandbox.sync_detailed(client=client, body=CreateRequest.from_dict(wanted)), 201)
assert (created.sandbox_id, created.status, created.user_id) == ("one", Status.RUNNING, 7), created
assert created.metadata.to_dict() == wanted["metadata"], created
other = answer(create_sandbox.sync_detailed(client=client), 201)

pinged = answer(ping.sync_detailed("one", client=client), 200)
assert pinged.status == Status.RUNNING and pinged.active and pinged.idle_remaining > 590, pinged
batch = answer(ping_many.sync_detailed(client=client, body=BatchRequest(ids=["one", "nobody"])), 200)
assert [result.ok for result in batch.results] == [True, False], batch
assert batch.results[1].error.code.value == "not_found", batch
assert answer(keep_alive.sync_detailed("one", client=client), 200).active

listed = answer(list_sandboxes.sync_detailed(client=client), 200)
assert {sandbox.sandbox_id for sandbox in listed.sandboxes} == {"one", other.sandbox_id}, listed
by_team = ListSandboxesMetadata.from_dict({"metadata.team": "blue"})
listed = answer(list_sandboxes.sync_detailed(client=client, metadata=by_team), 200)
assert [sandbox.sandbox_id for sandbox in listed.sandboxes] == ["one"], listed

deleted = answer(delete_sandbox.sync_detailed("one", client=client, wait=20), 200)
assert deleted.status == Status.TERMINATED and deleted.reason.value == "requested", deleted
assert answer(get_sandbox.sync_detailed("one", client=client), 200).status == Status.TERMINATED
assert not answer(why.sync_detailed("one", client=client), 200).alive
gone = answer(ping.sync_detailed("one", client=client), 410)
assert isinstance(gone, Error) and gone.error.code.value == "gone", gone
