"""Jobs of API v3: uploads, submits, results, money, and how long each of them lasts."""

from __future__ import annotations

import io
import wave
from typing import TYPE_CHECKING

import av
import pytest

from tests.sandbox.client_v3 import AVATAR, SPEECH, by_asset, by_url, error_of
from tests.sandbox.conftest import portrait_bytes, wav_bytes

if TYPE_CHECKING:
    from tests.sandbox.client_v3 import ClientV3

HOUR = 3600
DAY = 24 * HOUR


def test_speech_and_a_portrait_become_a_video_as_long_as_the_speech(v3: ClientV3) -> None:
    speech = v3.finish(v3.submit_speech(text="Good morning to all of you."))
    (sound,) = speech["outputs"]
    with wave.open(io.BytesIO(v3.download(sound["url"]).content)) as file:
        heard_ms = round(file.getnframes() * 1000 / file.getframerate())
    job = v3.finish(v3.submit(AVATAR, v3.avatar_input(audio=by_asset(sound["asset_id"]))))
    (video,) = job["outputs"]
    assert abs(heard_ms - sound["duration_ms"]) <= 1
    assert (video["width"], video["height"], video["duration_ms"]) == (540, 960, sound["duration_ms"])
    with av.open(io.BytesIO(v3.download(video["url"]).content)) as container:
        seen_ms = float(container.duration or 0) / 1000
        assert {stream.type for stream in container.streams} == {"video", "audio"}
    assert abs(seen_ms - heard_ms) < 60


def test_an_avatar_costs_its_seconds_at_the_rate_of_its_resolution(v3: ClientV3) -> None:
    expected = {"540p": 0.025, "720p": 0.05, "1080p": 0.0625}
    audio = by_url(v3.upload(wav_bytes(2.0)))
    for resolution, rate in expected.items():
        before = v3.balance()
        answer = v3.submit(AVATAR, v3.avatar_input(audio=audio, resolution=resolution))
        job = v3.get(answer.json()["result_url"].removeprefix("/v3")).json()
        assert (job["cost"], job["currency"]) == (pytest.approx(2 * rate), "USD")
        assert before - v3.balance() == pytest.approx(2 * rate)


def test_the_estimate_of_a_speech_is_what_its_job_costs_and_avatars_have_none(v3: ClientV3) -> None:
    body = {"input": v3.speech_input()}
    estimate = v3.post(f"/models/{SPEECH}/estimate", json=body).json()
    assert estimate == {"model": SPEECH, "cost": pytest.approx(0.0013), "currency": "USD"}
    assert v3.finish(v3.submit(SPEECH, body["input"]))["cost"] == estimate["cost"]
    answer = v3.post(f"/models/{AVATAR}/estimate", json={"input": v3.avatar_input()})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "FAILED_PRECONDITION")


@pytest.mark.hedra_sandbox(usd=0.01)
def test_without_enough_money_nothing_starts_and_the_answer_says_what_is_missing(v3: ClientV3) -> None:
    answer = v3.submit(AVATAR, v3.avatar_input())
    assert (answer.status_code, error_of(answer)["code"]) == (402, "INSUFFICIENT_BALANCE")
    billing = error_of(answer)["billing"]
    assert billing["funding_url"].startswith("https://")
    assert (billing["balance"], billing["required"], billing["currency"], billing["reason"]) == (
        0.01, 0.025, "USD", None,
    )  # fmt: skip
    assert v3.get("/jobs").json() == {"data": [], "next_cursor": None}


def test_a_failed_job_shows_its_error_and_costs_nothing(v3: ClientV3) -> None:
    error = {"code": "MODERATION_FAILED", "message": "Image failed moderation."}
    v3.sandbox.faults({"on": "POST /v3/models/{model}", "generation_error": error})
    job = v3.finish(v3.submit_speech())
    assert (job["status"], job["outputs"], job["cost"]) == ("FAILED", [], 0)
    assert job["error"] == error | {"retryable": False}
    assert v3.balance() == 100
    assert v3.finish(v3.submit_speech())["status"] == "COMPLETED"


def test_a_fault_may_end_a_job_in_a_status_of_its_own(v3: ClientV3) -> None:
    v3.sandbox.faults({"on": "POST /v3/models/{model}", "generation_status": "CANCELLED"})
    assert v3.finish(v3.submit_speech())["status"] == "CANCELLED"


@pytest.mark.hedra_sandbox(queue_seconds=10, seconds=20)
def test_a_job_goes_through_its_states_by_the_clock(v3: ClientV3) -> None:
    job_id = v3.submit_speech().json()["job_id"]
    seen = []
    for step in (0, 14, 20):
        v3.sandbox.advance(step)
        status = v3.get(f"/jobs/{job_id}/status").json()
        seen.append((status["status"], round(status["progress"], 1)))
    assert seen == [("IN_QUEUE", 0.0), ("IN_PROGRESS", 0.2), ("COMPLETED", 1.0)]
    assert [one["event"] for one in v3.get(f"/jobs/{job_id}/logs").json()["data"]] == [
        "queued", "started", "completed",
    ]  # fmt: skip


def test_an_upload_is_used_by_its_unchanged_url_for_an_hour(v3: ClientV3) -> None:
    handle = v3.post("/files", files={"file": ("liar.txt", portrait_bytes(), "text/plain")}).json()
    assert handle["content_type"] == "image/png"
    for url in (handle["url"] + "x", handle["url"].partition("?")[0], "https://example.com/a.png"):
        answer = v3.submit(AVATAR, v3.avatar_input(start_image=by_url(url)))
        (detail,) = error_of(answer)["details"]
        assert (answer.status_code, detail["reason"]) == (400, "external_url_rejected")
        assert detail["field"] == error_of(answer)["param"] == "input.start_image"
    v3.sandbox.advance(HOUR + 1)
    answer = v3.submit(AVATAR, v3.avatar_input(start_image=by_url(handle["url"])))
    assert (answer.status_code, error_of(answer)["details"][0]["reason"]) == (400, "expired")


def test_an_output_is_there_for_a_day_from_the_submit_and_the_job_for_four(v3: ClientV3) -> None:
    job = v3.finish(v3.submit_speech())
    asset_id = job["outputs"][0]["asset_id"]
    v3.sandbox.advance(DAY - HOUR)
    assert v3.submit(AVATAR, v3.avatar_input(audio=by_asset(asset_id))).status_code == 202
    v3.sandbox.advance(HOUR)
    (output,) = v3.get(f"/jobs/{job['job_id']}").json()["outputs"]
    assert (output["status"], output["url"], output["asset_id"]) == ("EXPIRED", None, None)
    answer = v3.submit(AVATAR, v3.avatar_input(audio=by_asset(asset_id)))
    assert (answer.status_code, error_of(answer)["details"][0]["reason"]) == (400, "expired")
    v3.sandbox.advance(3 * DAY)
    assert v3.get(f"/jobs/{job['job_id']}").status_code == 404


def test_jobs_are_listed_newest_first_in_pages(v3: ClientV3) -> None:
    ids = [v3.submit_speech().json()["job_id"] for _ in range(5)]
    other = v3.submit("elevenlabs-flash-v2", v3.speech_input()).json()["job_id"]
    seen, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = v3.get("/jobs", params=query).json()
        seen += [row["job_id"] for row in answer["data"]]
        cursor = answer["next_cursor"]
        if cursor is None:
            break
        if len(seen) == 2:
            # A row that goes or comes does not shift the next page.
            assert v3.http.delete(f"/jobs/{seen[1]}").status_code == 204
            v3.submit_speech()
    assert seen == [other, *reversed(ids)]
    assert [one["job_id"] for one in v3.get("/models/elevenlabs-flash-v2/jobs").json()["data"]] == [other]
    for wrong in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"cursor": "x"}):
        assert v3.get("/jobs", params=wrong).status_code == 400


@pytest.mark.hedra_sandbox(seconds=60)
def test_only_a_finished_job_can_be_deleted(v3: ClientV3) -> None:
    job_id = v3.submit_speech().json()["job_id"]
    assert v3.http.delete(f"/jobs/{job_id}").status_code == 409
    v3.sandbox.advance(60)
    v3.get(f"/jobs/{job_id}/status")
    assert v3.http.delete(f"/jobs/{job_id}").status_code == 204
    assert v3.get(f"/jobs/{job_id}").status_code == 404


def test_everything_that_is_wrong_with_an_input_is_named_at_once(v3: ClientV3) -> None:
    wrong = {"prompt": " ", "aspect_ratio": "2:1", "resolution": None, "duration_ms": 600_001, "extra": 1}
    answer = v3.submit(AVATAR, v3.avatar_input(**wrong))
    found = {one["field"]: one["reason"] for one in error_of(answer)["details"]}
    assert answer.status_code == 400
    assert found == {
        "input.prompt": "pattern", "input.aspect_ratio": "enum", "input.resolution": "required",
        "input.duration_ms": "maximum", "input.extra": "unknown",
    }  # fmt: skip
    ratio = next(one for one in error_of(answer)["details"] if one["field"] == "input.aspect_ratio")
    assert ratio["allowed"] == ["1:1", "4:3", "3:4", "16:9", "9:16", "9:21", "21:9"]


@pytest.mark.parametrize(
    ("field", "data", "reason"),
    [("start_image", b"hello", "content_type"), ("audio", portrait_bytes(), "content_type"),
     ("audio", wav_bytes(0.3), "min_duration_ms"), ("start_image", portrait_bytes()[:200], "unreadable")],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_rejected_at_the_submit(
    v3: ClientV3, field: str, data: bytes, reason: str
) -> None:
    answer = v3.submit(AVATAR, v3.avatar_input(**{field: by_url(v3.upload(data))}))
    assert (answer.status_code, error_of(answer)["details"][0]["reason"]) == (400, reason)
    assert v3.balance() == 100


def test_a_retired_model_names_its_successor(v3: ClientV3) -> None:
    answer = v3.submit("hedra-character-2", {})
    assert (answer.status_code, error_of(answer)["code"]) == (410, "GONE")
    assert error_of(answer)["replaced_by"] == "hedra-character-3"
    assert error_of(v3.submit("omnia", {}))["code"] == "NOT_FOUND"


def test_usage_counts_jobs_and_money_by_model(v3: ClientV3) -> None:
    v3.submit_speech()
    v3.submit("elevenlabs-flash-v2", v3.speech_input())
    usage = v3.get("/usage", params={"group_by": "model"}).json()
    assert (usage["total_jobs"], usage["total_spent"]) == (2, pytest.approx(0.00195))
    assert {row["key"] for row in usage["data"]} == {SPEECH, "elevenlabs-flash-v2"}
    assert v3.get("/usage", params={"start": "x"}).status_code == 400
