"""Idempotency keys of API v3: what is documented, and each assumption that can be switched."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.sandbox.client_v3 import AVATAR, SPEECH, by_url, error_of
from tests.sandbox.conftest import portrait_bytes

if TYPE_CHECKING:
    from tests.sandbox.client_v3 import ClientV3

HOUR = 3600


def rows(v3: ClientV3, *names: str) -> list[tuple[object, ...]]:
    return [tuple(row[name] for name in names) for row in v3.sandbox.submissions_v3]


def test_the_same_key_and_body_get_the_first_answer_again_and_are_paid_once(v3: ClientV3) -> None:
    first = v3.submit_speech("key")
    v3.finish(first)
    again = v3.submit_speech("key")
    assert (again.status_code, again.json()) == (202, first.json())
    job_id = first.json()["job_id"]
    assert rows(v3, "job_id", "idempotency_key", "place", "replay_of", "usd") == [
        (job_id, "key", "header", None, pytest.approx(0.0013)), (job_id, "key", "header", job_id, 0),
    ]  # fmt: skip
    assert v3.balance() == pytest.approx(100 - 0.0013)


def test_another_body_is_a_conflict(v3: ClientV3) -> None:
    v3.submit_speech("key")
    answer = v3.submit_speech("key", text="Something else.")
    assert (answer.status_code, error_of(answer)["code"]) == (409, "ALREADY_EXISTS")
    assert rows(v3, "conflict") == [(False,), (True,)]
    assert len(v3.get("/jobs").json()["data"]) == 1


def test_a_second_upload_makes_another_body(v3: ClientV3) -> None:
    job_input = v3.avatar_input()
    assert v3.submit(AVATAR, job_input, "key").status_code == 202
    job_input["start_image"] = by_url(v3.upload(portrait_bytes()))
    assert v3.submit(AVATAR, job_input, "key").status_code == 409


def test_without_a_key_every_submit_is_charged(v3: ClientV3) -> None:
    v3.submit_speech()
    v3.submit_speech()
    assert rows(v3, "idempotency_key", "place", "replay_of") == [(None, None, None)] * 2
    assert len(v3.get("/jobs").json()["data"]) == 2


def test_a_key_replays_a_failed_job_too(v3: ClientV3) -> None:
    error = {"code": "INTERNAL", "message": "Out of memory."}
    v3.sandbox.faults({"on": "POST /v3/models/{model}", "generation_error": error})
    first = v3.finish(v3.submit_speech("key"))
    assert v3.finish(v3.submit_speech("key"))["job_id"] == first["job_id"]
    assert first["status"] == "FAILED"


@pytest.mark.hedra_sandbox(key_hours=2)
def test_a_key_is_forgotten_after_its_life(v3: ClientV3) -> None:
    first = v3.submit_speech("key").json()["job_id"]
    v3.sandbox.advance(2 * HOUR - 10)
    assert v3.submit_speech("key").json()["job_id"] == first
    v3.sandbox.advance(20)
    assert v3.submit_speech("key").json()["job_id"] != first


@pytest.mark.parametrize(
    ("place", "by_header", "by_body"),
    [pytest.param(place, *honoured, marks=pytest.mark.hedra_sandbox(idempotency=place))
     for place, honoured in {"header": (True, False), "body": (False, True), "both": (True, True),
                             "ignore": (False, False)}.items()],
)  # fmt: skip
def test_where_a_key_is_read(v3: ClientV3, place: str, by_header: bool, by_body: bool) -> None:
    def is_replayed(**how: str) -> bool:
        ids = {v3.submit_speech(how.get("header"), **how.get("body", {})).json()["job_id"] for _ in range(2)}
        return len(ids) == 1

    assert is_replayed(header="a") is by_header
    assert is_replayed(body={"idempotency_key": "b"}) is by_body  # type: ignore[arg-type]
    places = {row["place"] for row in v3.sandbox.submissions_v3}
    assert places - {None} == ({"header"} if by_header else set()) | ({"body"} if by_body else set())


@pytest.mark.parametrize(
    ("status", "compare"),
    [pytest.param(409, "bytes", marks=pytest.mark.hedra_sandbox(compare="bytes")),
     pytest.param(202, "json", marks=pytest.mark.hedra_sandbox(compare="json"))],
)  # fmt: skip
def test_how_bodies_are_compared(v3: ClientV3, status: int, compare: str) -> None:
    body = {"input": v3.speech_input()}
    for spaces, expected in ((None, 202), (1, status)):
        content = json.dumps(body, indent=spaces).encode()
        assert v3.submit(SPEECH, None, "key", content=content).status_code == expected


def test_a_rejected_submit_leaves_its_key_free(v3: ClientV3) -> None:
    assert v3.submit_speech("key", text=" ").status_code == 400
    assert v3.submit_speech("key").status_code == 202


@pytest.mark.hedra_sandbox(burn_rejected_keys=True)
def test_a_rejected_submit_may_use_up_its_key(v3: ClientV3) -> None:
    first = v3.submit_speech("key", text=" ")
    again = v3.submit_speech("key", text=" ")
    assert (first.status_code, again.status_code) == (400, 400)
    assert error_of(again) == error_of(first)
    assert v3.submit_speech("key").status_code == 409


@pytest.mark.parametrize(
    ("mode", "statuses", "jobs"),
    [pytest.param(mode, *expected, marks=pytest.mark.hedra_sandbox(two_at_once=mode, submit_seconds=0.3))
     for mode, expected in {"conflict": ([202, 409], 1), "wait": ([202, 202], 1),
                            "both": ([202, 202], 2)}.items()],
)  # fmt: skip
def test_two_submits_at_once(v3: ClientV3, mode: str, statuses: list[int], jobs: int) -> None:
    job_input = v3.speech_input()
    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(lambda _: v3.submit(SPEECH, job_input, "key"), range(2)))
    assert sorted(answer.status_code for answer in answers) == statuses
    assert len(v3.get("/jobs").json()["data"]) == jobs
    if mode == "conflict":
        loser = next(answer for answer in answers if answer.status_code == 409)
        assert (error_of(loser)["code"], error_of(loser)["retryable"]) == ("ALREADY_IN_PROGRESS", True)


@pytest.mark.parametrize(
    ("mode", "status"),
    [pytest.param("replay", 202, marks=pytest.mark.hedra_sandbox(lapsed_replay="replay")),
     pytest.param("expired", 400, marks=pytest.mark.hedra_sandbox(lapsed_replay="expired"))],
)  # fmt: skip
def test_a_replay_after_the_handles_have_expired(v3: ClientV3, mode: str, status: int) -> None:
    job_input = v3.avatar_input()
    v3.submit(AVATAR, job_input, "key")
    v3.sandbox.advance(HOUR)
    assert v3.submit(AVATAR, job_input, "key").status_code == status


@pytest.mark.hedra_sandbox(key_form="uuid")
def test_the_form_of_keys_can_be_limited(v3: ClientV3) -> None:
    assert v3.submit_speech("a word").status_code == 400
    assert v3.submit_speech(str(uuid4())).status_code == 202


def test_the_ledger_has_no_upload_handle(v3: ClientV3) -> None:
    job_input = v3.avatar_input()
    v3.submit(AVATAR, job_input, "key")
    (row,) = v3.sandbox.submissions_v3
    assert row["body"]["input"]["prompt"] == job_input["prompt"]
    assert row["body"]["input"]["audio"]["url"].startswith("file:")
    assert "Signature" not in json.dumps(v3.sandbox.ledger())


def test_a_submit_whose_answer_is_lost_is_found_by_its_key(v3: ClientV3) -> None:
    import httpx

    v3.sandbox.faults({"on": "POST /v3/models/{model}", "when": "after", "reset": True})
    job_input = v3.speech_input()
    with pytest.raises(httpx.TransportError):
        v3.submit(SPEECH, job_input, "key")
    (job,) = v3.get("/jobs").json()["data"]
    assert v3.submit(SPEECH, job_input, "key").json()["job_id"] == job["job_id"]
    assert rows(v3, "replay_of") == [(None,), (job["job_id"],)]
