"""A fault lets a generation end in any status, with an error object or without, in every answer about it."""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import Client

ERROR = {"type": "MODERATION_FAILED", "message": "No likeness."}


@pytest.mark.hedra_sandbox(seconds=60)
@pytest.mark.parametrize("status", ["failed", "canceled", "moderated"])
@pytest.mark.parametrize("error", [None, ERROR])
def test_a_generation_ends_in_an_unknown_status(hedra: Client, status: str, error: dict | None) -> None:
    hedra.sandbox.faults(
        {"on": "POST /generations", "generation_status": status}
        | ({"generation_error": error} if error else {})
    )
    generation_id = hedra.submit().json()["id"]
    others = hedra.submit().json()["id"]
    assert hedra.status(generation_id)["status"] == "processing"
    hedra.sandbox.advance(60)
    row = hedra.get("/generations", params={"ids": generation_id}).json()["data"][0]
    for answer in (hedra.status(generation_id), row):
        assert (answer["status"], answer["error"], answer["error_message"]) == (status, error, None)
    assert hedra.status(generation_id)["url"] is None
    assert hedra.final_status(others)["status"] == "complete"
    # Credits come back with an error; what Hedra does in a status that it does not document is unknown.
    assert hedra.credits() == 10_000 - 2 - (0 if error else 2)


def test_an_answer_shows_an_unknown_status_once(hedra: Client) -> None:
    """A patch changes one answer, on the status and on the list."""
    generation_id = hedra.make()["id"]
    hedra.sandbox.faults(
        {"on": "GET /generations/{id}/status", "patch": {"status": "failed", "error": ERROR}},
        {"on": "GET /generations", "patch_items": {"status": "canceled"}},
    )
    answer = hedra.status(generation_id)
    assert (answer["status"], answer["error"]) == ("failed", ERROR)
    assert hedra.get("/generations").json()["data"][0]["status"] == "canceled"
    assert hedra.status(generation_id)["status"] == "complete"


def test_an_unknown_status_outlives_a_restart(tmp_path) -> None:
    from hedra_provider.testing import Sandbox

    file = tmp_path / "state.json"
    with Sandbox(state=file, media=False) as sandbox:
        sandbox.faults({"on": "POST /generations", "generation_status": "canceled"})
        generation_id = Client(sandbox).submit().json()["id"]
    with Sandbox(state=file, media=False) as sandbox:
        assert Client(sandbox).status(generation_id)["status"] == "canceled"
