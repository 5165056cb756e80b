"""What a submit costs, which requests are rejected, and the life of a generation."""

from __future__ import annotations

from uuid import uuid4

import pytest

from hedra_provider.testing import Sandbox
from tests.sandbox.conftest import AVATAR, Client, portrait_bytes, wav_bytes

VIDEO_INPUTS = {"text_prompt": "x", "aspect_ratio": "9:16", "resolution": "720p"}


def voice_id(hedra: Client) -> str:
    return str(hedra.get("/voices").json()[0]["id"])


class TestPrice:
    @pytest.mark.parametrize(
        ("resolution", "seconds", "credits"),
        # 3 credits per second; 540p costs half, 1080p twice as much; rounded up once, at the end.
        [("720p", 1.0, 3), ("540p", 1.0, 2), ("1080p", 1.0, 6), ("720p", 1.1, 4), ("540p", 2.0, 3)],
    )
    def test_follows_the_formula(self, hedra: Client, resolution: str, seconds: float, credits: int) -> None:
        answer = hedra.submit(seconds=seconds, inputs={"resolution": resolution})
        assert answer.status_code == 200
        assert hedra.credits() == 10_000 - credits
        assert hedra.get("/generations").json()["data"][0]["credit_cost"] == credits
        assert [row["credits"] for row in hedra.sandbox.submissions] == [credits]

    def test_charges_the_requested_length(self, hedra: Client) -> None:
        hedra.submit(seconds=1.0, inputs={"duration_ms": 10_000, "resolution": "720p"})
        assert hedra.credits() == 10_000 - 30

    def test_charges_inline_speech_too(self, hedra: Client) -> None:
        speech = {"type": "text_to_speech", "voice_id": voice_id(hedra), "text": "a" * 150}
        hedra.submit(audio_id=None, audio_generation=speech, inputs={"resolution": "720p"})
        # 150 characters are 10 s: 30 credits of video and 10 of speech.
        assert hedra.credits() == 10_000 - 40

    def test_each_variation_of_a_batch(self, hedra: Client) -> None:
        ids = [str(uuid4()) for _ in range(3)]
        answer = hedra.submit(generation_ids=ids, batch_size=3, inputs={"resolution": "720p"})
        assert [row["id"] for row in answer.json()["batch_results"]] == ids
        assert hedra.credits() == 10_000 - 9
        assert [row["generation_id"] for row in hedra.sandbox.submissions] == ids

    def test_a_failure_is_refunded_at_its_end(self) -> None:
        with Sandbox(seconds=10) as sandbox:
            hedra = Client(sandbox)
            error = {"type": "MODERATION_FAILED", "reason_code": "MODERATION_LIKENESS", "message": "No."}
            sandbox.faults({"on": "POST /generations", "generation_error": error})
            generation_id = hedra.submit().json()["id"]
            assert hedra.credits() == 9_998
            sandbox.advance(10)
            status = hedra.status(generation_id)
            assert (status["status"], status["error"]) == ("error", error)
            assert status["url"] is None
            assert hedra.credits() == 10_000
            assert sandbox.ledger()["credits"] == {"remaining": 10_000, "used": 0, "refunded": 2}

    def test_an_error_may_be_a_message_alone(self, hedra: Client) -> None:
        hedra.sandbox.faults({"on": "POST /generations", "generation_error": {"error_message": "Too dark"}})
        status = hedra.make()
        assert (status["status"], status["error"], status["error_message"]) == ("error", None, "Too dark")


class TestRejections:
    """Everything is rejected before it costs anything."""

    @pytest.fixture(autouse=True)
    def _nothing_was_charged(self, hedra: Client):
        yield
        assert hedra.sandbox.ledger()["credits"] == {"remaining": 10_000, "used": 0, "refunded": 0}
        assert hedra.sandbox.submissions == []

    @pytest.mark.parametrize(
        ("change", "status", "words"),
        [
            ({"model_slug": "no/such"}, 404, "Model"),
            ({"model_slug": None}, 400, "model_slug"),
            ({"model_slug": "sandbox/speech"}, 404, "Model"),
            ({"model_slug": None, "ai_model_id": str(uuid4())}, 404, "Model"),
            ({"audio_id": None}, 400, "audio_id or audio_generation"),
            ({"start_keyframe_id": None}, 400, "start_keyframe_id"),
            ({"start_keyframe_id": str(uuid4())}, 404, "start_keyframe_id"),
            ({"audio_id": str(uuid4())}, 404, "audio_id"),
            ({"audio_start_ms": 1000}, 400, "only 1000 ms long"),
            ({"batch_size": 2}, 400, "generation_ids"),
            ({"generation_ids": [str(uuid4())], "batch_size": 2}, 400, "batch_size"),
            ({"inputs": {"aspect_ratio": "4:3"}}, 400, "4:3"),
            ({"inputs": {"resolution": "4K"}}, 400, "4K"),
            ({"inputs": {"duration_ms": 600_251}}, 400, "600000"),
            ({"inputs": {"text_prompt": "x" * 2501}}, 400, "2500"),
            ({"inputs": {"duration_ms": 0}}, 422, "duration_ms"),
            ({"audio_id": "not-a-uuid"}, 422, "uuid"),
            ({"batch_size": 9}, 422, "batch_size"),
            ({"name": "n" * 256}, 422, "name"),
            ({"type": "video_upscale"}, 400, "not simulated"),
            ({"type": "opera"}, 422, "union_tag_invalid"),
            ({"generated_video_inputs": {}}, 422, "text_prompt"),
            ({"workspace_id": "nobody"}, 403, "nobody"),
        ],
    )
    def test_of_requests(self, hedra: Client, change: dict, status: int, words: str) -> None:
        answer = hedra.submit(**change)
        assert answer.status_code == status, answer.text
        assert words in answer.text
        body = answer.json()
        if status == 422:
            assert {"type", "loc", "msg"} <= body["detail"][0].keys()
            assert body["detail"][0]["loc"][0] == "body"
        else:
            assert body.keys() == {"messages"} if status == 400 else body.keys() == {"detail"}

    def test_of_audio_longer_than_the_model_takes(self, hedra: Client) -> None:
        slug = {"model_slug": "hedra/omnia"}
        answer = hedra.submit(seconds=8.5, **slug)
        assert answer.status_code == 400
        assert "8500 ms" in answer.text

    @pytest.mark.parametrize(
        ("change", "status"),
        [
            ({"text": " "}, 400),
            ({"text": "a" * 10_001}, 400),
            ({"voice_id": str(uuid4())}, 404),
            ({"speed": 1.3}, 422),
            ({"speed": 0.6}, 422),
            ({"stability": 1.1}, 422),
            ({"language": "Klingon"}, 422),
        ],
    )
    @pytest.mark.parametrize("inline", [True, False])
    def test_of_speech(self, hedra: Client, change: dict, status: int, inline: bool) -> None:
        speech = {"type": "text_to_speech", "voice_id": voice_id(hedra), "text": "Hello", **change}
        answer = hedra.submit(audio_id=None, audio_generation=speech) if inline else hedra.submit(body=speech)
        assert answer.status_code == status, answer.text

    def test_of_assets(self, hedra: Client) -> None:
        empty = hedra.post("/assets", json={"name": "x", "type": "audio"}).json()["id"]
        assert "nothing was uploaded" in hedra.submit(audio_id=empty).text
        image = hedra.asset("image", portrait_bytes())
        assert "must be an asset of type audio" in hedra.submit(audio_id=image).text
        tiny = hedra.asset("image", portrait_bytes(63, 400))
        assert "63x400" in hedra.submit(start_keyframe_id=tiny).text

    def test_of_a_body_that_is_no_json(self, hedra: Client) -> None:
        answer = hedra.post("/generations", content=b'{"type": ')
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["type"] == "json_invalid"


def test_duration_ms_trims_audio_that_is_too_long(hedra: Client) -> None:
    slug = {"model_slug": "hedra/omnia"}
    assert hedra.submit(seconds=8.5, inputs={"duration_ms": 8000}, **slug).status_code == 200


def test_an_audio_id_wins_over_inline_speech(hedra: Client) -> None:
    speech = {"type": "text_to_speech", "voice_id": voice_id(hedra), "text": "a" * 150}
    hedra.submit(audio_generation=speech, inputs={"resolution": "720p"})
    assert hedra.credits() == 10_000 - 3


def test_a_model_by_id_slug_or_inside_the_inputs(hedra: Client) -> None:
    avatar = "26f0fc66-152b-40ab-abed-76c43df99bc8"
    assert hedra.submit(model_slug=None, ai_model_id=avatar).status_code == 200
    assert hedra.submit(model_slug=None, inputs={"model_slug": AVATAR}).status_code == 200


class TestCredits:
    @pytest.mark.hedra_sandbox(credits=5)
    def test_run_out(self, hedra: Client) -> None:
        assert hedra.submit(inputs={"resolution": "720p"}).status_code == 200
        answer = hedra.submit(inputs={"resolution": "720p"})
        assert answer.status_code == 402
        body = answer.json()
        assert (body["error_code"], body["credits_needed"], body["credits_available"]) == (
            "INSUFFICIENT_BALANCE", 3, 2,
        )  # fmt: skip

    @pytest.mark.hedra_sandbox(workspaces={"team": 100, "poor": 1})
    def test_of_workspaces(self, hedra: Client) -> None:
        assert hedra.submit(workspace_id="team").status_code == 200
        # Absent or wrong, with an empty default pool: reads as "no credits".
        assert hedra.submit().status_code == 402
        assert hedra.submit(workspace_id="wrong").status_code == 402
        assert hedra.submit(workspace_id="poor").status_code == 402
        body = hedra.get("/billing/credits").json()
        assert body["remaining"] == 0
        assert body["workspace_credit_pool"]["team"]["available"] == 98
        assert body["workspace_credits"] == {"team": 98, "poor": 1}
        assert '"workspace_id": "team"' in hedra.sandbox.connection


class TestLifecycle:
    @pytest.mark.hedra_sandbox(seconds=100, queue_seconds=60)
    def test_follows_the_clock(self, hedra: Client) -> None:
        generation_id = hedra.submit().json()["id"]
        seen = []
        for step in (0, 59, 11, 40, 42, 8):
            hedra.sandbox.advance(step)
            status = hedra.status(generation_id)
            seen.append((status["status"], round(status["progress"], 1)))
            assert (status["url"] is None) == (status["status"] != "complete")
        assert seen == [
            ("queued", 0.0), ("queued", 0.0), ("processing", 0.1), ("processing", 0.5),
            ("finalizing", 0.9), ("complete", 1.0),
        ]  # fmt: skip

    @pytest.mark.hedra_sandbox(seconds=100, queue_seconds=60)
    def test_eta_counts_down(self, hedra: Client) -> None:
        generation_id = hedra.submit().json()["id"]
        assert hedra.status(generation_id)["eta_sec"] == 160
        hedra.sandbox.advance(100)
        assert hedra.status(generation_id)["eta_sec"] == 60

    @pytest.mark.hedra_sandbox(seconds=60, max_parallel=2)
    def test_max_parallel_rejects_one_more(self, hedra: Client) -> None:
        assert [hedra.submit().status_code for _ in range(3)] == [200, 200, 429]
        hedra.sandbox.advance(60)
        assert hedra.submit().status_code == 200

    @pytest.mark.hedra_sandbox(rate=2)
    def test_rate_rejects_one_more(self, hedra: Client) -> None:
        answers = [hedra.get("/billing/credits") for _ in range(4)]
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["Retry-After"]) >= 1
        hedra.sandbox.advance(1)
        assert hedra.get("/billing/credits").status_code == 200

    def test_an_unknown_generation(self, hedra: Client) -> None:
        answer = hedra.get(f"/generations/{uuid4()}/status")
        assert (answer.status_code, answer.json()) == (404, {"detail": "Generation not found"})
        assert hedra.get("/generations/nonsense/status").status_code == 422


class TestDuplicateIds:
    def twice(self, hedra: Client) -> tuple[dict, object]:
        body = hedra.request(generation_id=str(uuid4()))
        first = hedra.submit(body)
        assert first.status_code == 200
        return first.json(), hedra.submit(body)

    def test_conflict(self, hedra: Client) -> None:
        first, answer = self.twice(hedra)
        assert answer.status_code == 409
        assert answer.json()["error"]["type"] == "ALREADY_EXISTS"
        rows = hedra.sandbox.submissions
        assert [(row["credits"], row["duplicate_of"]) for row in rows] == [(2, None), (0, first["id"])]

    @pytest.mark.hedra_sandbox(duplicate_id="return")
    def test_return(self, hedra: Client) -> None:
        first, answer = self.twice(hedra)
        assert answer.status_code == 200
        assert answer.json()["id"] == first["id"]
        assert hedra.credits() == 9_998

    @pytest.mark.hedra_sandbox(duplicate_id="error", seconds=60)
    def test_error(self, hedra: Client) -> None:
        body = hedra.request(generation_id=str(uuid4()))
        hedra.submit(body)
        assert hedra.submit(body).json()["error"]["type"] == "ALREADY_IN_PROGRESS"
        hedra.sandbox.advance(60)
        hedra.status(body["generation_id"])
        answer = hedra.submit(body)
        assert (answer.status_code, answer.json()["error"]["type"]) == (400, "ALREADY_EXISTS")
        assert hedra.credits() == 9_998

    @pytest.mark.hedra_sandbox(duplicate_id="ignore")
    def test_ignore_finds_a_duplicate_in_capitals(self, hedra: Client) -> None:
        body = hedra.request(generation_id=str(uuid4()).upper())
        first = hedra.submit(body).json()
        hedra.submit(body)
        assert [row["duplicate_of"] for row in hedra.sandbox.submissions] == [None, first["id"]]

    @pytest.mark.hedra_sandbox(duplicate_id="ignore")
    def test_ignore_charges_every_time(self, hedra: Client) -> None:
        first, answer = self.twice(hedra)
        requested = hedra.sandbox.submissions[0]["request"]["generation_id"]
        assert len({first["id"], answer.json()["id"], requested}) == 3
        assert hedra.credits() == 9_996
        assert [row["duplicate_of"] for row in hedra.sandbox.submissions] == [None, first["id"]]
        assert hedra.get(f"/generations/{requested}/status").status_code == 404


class TestListing:
    def test_by_ids(self, hedra: Client) -> None:
        ids = [hedra.submit().json()["id"] for _ in range(3)]
        rows = hedra.get("/generations", params={"ids": f"{ids[0]},{ids[2]}"}).json()["data"]
        assert [row["id"] for row in rows] == [ids[2], ids[0]]
        assert hedra.get("/generations", params={"ids": "x"}).status_code == 422

    @pytest.mark.hedra_sandbox(batch=False)
    def test_without_batches_ids_are_ignored(self, hedra: Client) -> None:
        ids = [hedra.submit().json()["id"] for _ in range(3)]
        rows = hedra.get("/generations", params={"ids": ids[0]}).json()["data"]
        assert [row["id"] for row in rows] == ids[::-1]

    def test_pages_newest_first_with_filters(self, hedra: Client) -> None:
        ids = []
        for _ in range(4):
            ids.append(hedra.submit().json()["id"])
            hedra.sandbox.advance(60)
        page = hedra.get("/generations", params={"limit": 2, "offset": 1}).json()
        assert page["page_info"] == {"limit": 2, "offset": 1}
        assert [row["id"] for row in page["data"]] == [ids[2], ids[1]]
        since = page["data"][0]["created_at"]
        after = hedra.get("/generations", params={"created_after": since}).json()["data"]
        before = hedra.get("/generations", params={"created_before": since}).json()["data"]
        assert [row["id"] for row in after] == [ids[3], ids[2]]
        assert [row["id"] for row in before] == [ids[2], ids[1], ids[0]]
        assert hedra.get("/generations", params={"type": "text_to_speech"}).json()["data"] == []
        assert hedra.get("/generations", params={"created_after": "yesterday"}).status_code == 422

    def test_a_row_gives_the_request_back(self, hedra: Client) -> None:
        body = hedra.request(generation_id=str(uuid4()), inputs={"seed": 7})
        hedra.submit(body)
        row = hedra.get("/generations", params={"ids": body["generation_id"]}).json()["data"][0]
        assert row["input"] == body
        assert row["asset"]["asset"]["duration_ms"] == 1000


def test_speech_becomes_an_asset_that_a_video_can_use(hedra: Client) -> None:
    speech = {"type": "text_to_speech", "voice_id": voice_id(hedra), "text": "b" * 30, "speed": 1.2}
    status = hedra.make(body=speech)
    assert (status["status"], status["type"]) == ("complete", "audio")
    sound = hedra.download(status["download_url"])
    assert (sound.headers["content-type"], sound.content[:4]) == ("audio/wav", b"RIFF")
    assert hedra.make(audio_id=status["asset_id"])["status"] == "complete"
    listed = hedra.get("/assets", params={"type": "audio", "ids": status["asset_id"]}).json()
    assert listed[0]["asset"]["duration_ms"] == round(30 * 1000 / 18)


def test_a_silent_model_without_an_id(hedra: Client) -> None:
    model = next(row for row in hedra.get("/models").json() if row["id"] is None)
    assert hedra.submit(model_slug=model["slug"]).status_code == 400
    status = hedra.make(model_slug=model["slug"], audio_id=None, inputs={"duration_ms": 1000})
    assert status["status"] == "complete"


def test_wav_is_measured(hedra: Client) -> None:
    asset_id = hedra.asset("audio", wav_bytes(2.5))
    assert hedra.get("/assets", params={"type": "audio"}).json()[0]["id"] == asset_id
    assert hedra.get("/assets", params={"type": "audio"}).json()[0]["asset"]["duration_ms"] == 2500
