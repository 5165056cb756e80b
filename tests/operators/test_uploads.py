"""Uploads by operators: what is judged before anything is sent, what is found again, what is returned."""

from __future__ import annotations

import struct
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api import calls
from hedra_provider.hooks import HedraHook
from hedra_provider.operators import HedraUploadAssetOperator
from hedra_provider.submission import identity
from tests.airflow_names import AirflowException, AirflowFailException
from tests.media import png, wav
from tests.operators.helpers import avatar
from tests.tasks import TaskInstance, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(50)


def upload(source: str, **changes: Any) -> HedraUploadAssetOperator:
    return HedraUploadAssetOperator(task_id="upload", source=source, **changes)


def sent(sandbox: Sandbox) -> list[str]:
    """Return what was asked of the API that makes something."""
    return [row["path"] for row in sandbox.requests("POST")]


def assets(sandbox: Sandbox) -> int:
    return sum(row["status"] == 200 for row in sandbox.requests("POST", "/assets"))


def test_what_an_upload_returns(hedra_sandbox: Sandbox, voice: str):
    output = run(upload(voice))
    assert output == {
        "asset_id": output["asset_id"],
        "source": None,
        "type": "audio",
        "name": "voice.wav",
        "bytes": len(wav(1.0)),
        "duration_ms": 1000,
        "reused": False,
    }


def test_the_content_decides_the_type(hedra_sandbox: Sandbox, tmp_path: Path):
    path = tmp_path / "portrait.wav"
    path.write_bytes(png())
    assert run(upload(str(path)))["type"] == "image"


@pytest.mark.parametrize(
    ("image", "audio", "says"),
    [
        (png(), b"Good morning\n", r"audio: 'voice\.wav' is text, not an audio"),
        (png(), png(), r"audio: 'voice\.wav' is image/png, not an audio"),
        (png(), b"", r"audio: '.*voice\.wav' is empty"),
        (wav(1), wav(1), r"image: 'portrait\.png' is audio/wav, not an image"),
        (b"<html>", wav(1), r"image: 'portrait\.png' is text, not an image"),
        (png(), wav(0.05), r"audio: '.*voice\.wav' plays 50 ms; the model accepts at least 100 ms"),
        (png(), bytes(100), r"audio: 'voice\.wav' does not begin as such a file does"),
    ],
)
def test_bad_files_are_rejected_before_anything_is_sent(
    hedra_sandbox: Sandbox, tmp_path: Path, image: bytes, audio: bytes, says: str
):
    (tmp_path / "portrait.png").write_bytes(image)
    (tmp_path / "voice.wav").write_bytes(audio)
    with pytest.raises(AirflowFailException, match=f"{says}.*Nothing was sent"):
        run(avatar(str(tmp_path / "portrait.png"), str(tmp_path / "voice.wav")))
    assert sent(hedra_sandbox) == []


def long_wav(path: Path, seconds: float) -> str:
    """Write a WAV of a hundred bytes a second: ten minutes are 60 kB."""
    data = bytes(int(seconds * 100))
    form = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 100, 100, 1, 8)
    sound = b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(form) + len(sound)) + form + sound)
    return str(path)


def test_an_audio_that_is_too_long_is_rejected_before_it_is_sent(
    hedra_sandbox: Sandbox, portrait: str, tmp_path: Path
):
    audio = long_wav(tmp_path / "long.wav", 602)
    with pytest.raises(AirflowFailException, match="plays 602000 ms; the model accepts at most 600000 ms"):
        run(avatar(portrait, audio))
    assert sent(hedra_sandbox) == []


@pytest.mark.hedra_sandbox(media=False)
@pytest.mark.parametrize("crop", [{"duration_ms": 1000}, {"audio_start_ms": 601_000}, {"validate": False}])
def test_a_long_audio_of_which_a_part_is_taken_is_sent(
    hedra_sandbox: Sandbox, portrait: str, tmp_path: Path, crop: dict[str, Any]
):
    audio = long_wav(tmp_path / "long.wav", 602)
    try:
        run(avatar(portrait, audio, **crop))
    except AirflowException as error:
        # Hedra's word, not ours.
        assert "takes at most" in str(error)  # noqa: PT017
    assert assets(hedra_sandbox) == 2


@pytest.mark.hedra_sandbox(media=False)
def test_the_measured_length_is_what_max_credits_is_judged_by(
    hedra_sandbox: Sandbox, portrait: str, tmp_path: Path
):
    """Hedra says 9: nine milliseconds, or as its schema has it nine seconds? Neither: it is a minute."""
    hedra_sandbox.faults(
        {"on": "POST /assets/{id}/upload", "times": None, "patch": {"asset": {"duration_ms": 9}}}
    )
    audio = long_wav(tmp_path / "minute.wav", 60)
    ti = TaskInstance()
    with pytest.raises(AirflowFailException, match="may cost 90 credits, max_credits is 89"):
        run(avatar(portrait, audio, max_credits=89), ti)
    assert hedra_sandbox.submissions == []
    made = run(avatar(portrait, audio, max_credits=90), TaskInstance(try_number=2))
    assert made["credit_cost"] == 90


def test_another_type_or_workspace_is_another_asset(hedra_sandbox: Sandbox, tmp_path: Path):
    from tests.media_files.samples import encoded

    path = tmp_path / "sound.mp4"
    path.write_bytes(encoded("mp4", "aac"))
    first = run(upload(str(path), asset_type="audio"))
    assert run(upload(str(path), asset_type="audio")) == first | {"reused": True}
    assert first["asset_id"] != asset_id_of(hedra_sandbox, path, "video")


def asset_id_of(sandbox: Sandbox, path: Path, kind: str) -> str:
    namespace = HedraHook().settings.namespace
    return identity.asset_id(namespace, sha256(path.read_bytes()).hexdigest(), kind, None)


@pytest.mark.hedra_sandbox(workspaces={"one": 1000, "two": 1000})
def test_each_workspace_has_its_own(hedra_sandbox: Sandbox, portrait: str):
    ids = {run(upload(portrait, workspace_id=workspace))["asset_id"] for workspace in ("one", "two", "one")}
    assert len(ids) == 2
    assert assets(hedra_sandbox) == 2


def test_an_asset_that_is_gone_is_uploaded_again(hedra_sandbox: Sandbox, portrait: str):
    first = run(upload(portrait))
    hedra_sandbox.reset()
    assert run(upload(portrait)) == first


def test_without_reuse_a_task_run_makes_its_own_asset_once(hedra_sandbox: Sandbox, portrait: str):
    shared = run(upload(portrait))
    own = run(upload(portrait, reuse=False))
    assert own["asset_id"] != shared["asset_id"]
    retry = run(upload(portrait, reuse=False), TaskInstance(try_number=2))
    clear = run(upload(portrait, reuse=False), TaskInstance(try_number=3, max_tries=4))
    assert retry == clear == own | {"reused": True}
    others = [
        run(upload(portrait, reuse=False), TaskInstance(**other))["asset_id"]
        for other in ({"run_id": "manual__2"}, {"task_id": "other"}, {"map_index": 1})
    ]
    assert len({shared["asset_id"], own["asset_id"], *others}) == 5
    assert assets(hedra_sandbox) == 5
    # What partial() passes for what nobody said.
    assert run(upload(portrait, reuse=None)) == shared | {"reused": True}


ROUNDS = [TaskInstance(), TaskInstance(try_number=2), TaskInstance(try_number=3, max_tries=4)]


def test_without_reuse_a_retry_and_a_clear_ask_for_the_same_video(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    run(avatar(portrait, voice))
    for ti in (TaskInstance(run_id="b", try_number=t.try_number, max_tries=t.max_tries) for t in ROUNDS):
        run(avatar(portrait, voice, reuse=False), ti)
    first, second = hedra_sandbox.submissions
    assert first["request"]["audio_id"] != second["request"]["audio_id"]
    assert first["request"]["start_keyframe_id"] != second["request"]["start_keyframe_id"]
    assert assets(hedra_sandbox) == 4


def test_without_reuse_a_new_one_after_a_clear_has_new_assets(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    for ti in (TaskInstance(try_number=t.try_number, max_tries=t.max_tries) for t in ROUNDS):
        run(avatar(portrait, voice, reuse=False, on_clear="new"), ti)
    first, second = hedra_sandbox.submissions
    assert first["request"]["audio_id"] != second["request"]["audio_id"]
    assert assets(hedra_sandbox) == 4


def test_without_reuse_an_idempotency_key_still_shares_its_video(
    hedra_sandbox: Sandbox, portrait: str, voice: str
):
    made = [
        run(avatar(portrait, voice, reuse=False, idempotency_key="shop/1"), TaskInstance(run_id=name))
        for name in ("a", "b")
    ]
    assert made[0]["generation_id"] == made[1]["generation_id"]
    assert len(hedra_sandbox.submissions) == 1
    assert assets(hedra_sandbox) == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("on", ["POST /assets", "POST /assets/{id}/upload", "GET /assets"])
def test_a_task_that_lost_its_uploads_retries_without_more_assets(
    hedra_sandbox: Sandbox, portrait: str, voice: str, on: str, when: str, no_pauses: None
):
    hedra_sandbox.faults({"on": on, "skip": 1, "times": 5, "when": when, "reset": True})
    with pytest.raises(AirflowException) as raised:
        run(avatar(portrait, voice))
    assert not isinstance(raised.value, AirflowFailException)
    run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert len(hedra_sandbox.submissions) == 1
    with HedraHook().get_conn() as client:
        there = [asset.id for kind in ("image", "audio") for asset in client.run(calls.list_assets(kind))]
    assert len(there) == 2


@pytest.mark.hedra_sandbox(media=False)
@pytest.mark.parametrize("hedra_says", [9, None, 2000])
def test_a_length_that_is_not_known_is_compared_by_the_models_longest(
    hedra_sandbox: Sandbox, portrait: str, tmp_path: Path, hedra_says: int | None
):
    """What Hedra states of an upload is no upper bound: its schema calls that number "in seconds"."""
    hedra_sandbox.faults(
        {"on": "POST /assets/{id}/upload", "times": None, "patch": {"asset": {"duration_ms": hedra_says}}},
    )
    path = tmp_path / "voice.mp3"
    path.write_bytes(b"\xff\xfb\x00\xc4" * 8000)
    with pytest.raises(AirflowFailException, match="may cost 0 to 1803 credits, max_credits is 1800"):
        run(avatar(portrait, str(path), max_credits=1800, resolution="720p"))
    assert hedra_sandbox.submissions == []


def test_what_an_encoder_adds_is_in_the_estimate(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    """7.3 s at 3 credits a second are 22 credits, but as AAC 7.34 s and 23: Hedra bills what it decodes."""
    from tests.media_files.samples import encoded

    path = tmp_path / "voice.m4a"
    path.write_bytes(encoded("ipod", "aac", seconds=7.3, rate=44_100))
    with pytest.raises(AirflowFailException, match="may cost 22 to 23 credits, max_credits is 22"):
        run(avatar(portrait, str(path), max_credits=22, resolution="720p"))
    assert hedra_sandbox.submissions == []


def test_a_joined_recording_is_measured_whole(hedra_sandbox: Sandbox, portrait: str, tmp_path: Path):
    """Speech is made in chunks and joined byte by byte: the first part's header has only its own length."""
    from tests.media_files.samples import encoded

    path = tmp_path / "voice.mp3"
    path.write_bytes(
        encoded("mp3", "libmp3lame") + encoded("mp3", "libmp3lame", options=(("write_xing", "0"),))
    )
    assert run(upload(str(path)))["duration_ms"] == pytest.approx(4050, abs=60)
    with pytest.raises(AirflowFailException, match="max_credits is 12"):
        run(avatar(portrait, str(path), max_credits=12, resolution="720p"))
    assert hedra_sandbox.submissions == []


REJECTIONS = [
    # what Hedra answers, what the message says, what to do
    (
        (422, {"detail": [{"loc": ["body", "file"], "msg": "cannot identify image file"}]}),
        "cannot identify",
        "convert",
    ),
    ((400, {"error": {"type": "INVALID_ARGUMENT", "message": "no such codec"}}), "no such codec", "convert"),
    ((415, {"messages": ["Unsupported media"]}), "Unsupported media", "convert"),
    ((413, {"detail": "Too large"}), "Too large", "Send a smaller file"),
    (
        (400, {"error": {"type": "MODERATION_FAILED", "message": "Not this face"}}),
        "Not this face",
        "moderation rejected",
    ),
]


@pytest.mark.parametrize(("answer", "reason", "remedy"), REJECTIONS)
@pytest.mark.parametrize("param", ["image", "audio", "source"])
def test_a_rejected_upload_names_parameter_and_file(
    hedra_sandbox: Sandbox,
    portrait: str,
    voice: str,
    param: str,
    answer: tuple[int, Any],
    reason: str,
    remedy: str,
):
    """Not the asset's id, which the user never saw, and no "Correct the request"."""
    status, body = answer
    path = voice if param == "audio" else portrait
    image = run(upload(portrait))["asset_id"] if param == "audio" else portrait
    hedra_sandbox.faults(
        {"on": "POST /assets/{id}/upload", "times": 9, "when": "before", "status": status, "body": body}
    )
    operator = upload(portrait) if param == "source" else avatar(image, voice)
    with pytest.raises(AirflowFailException) as raised:
        run(operator)
    said = str(raised.value)
    start = f"{param}: Hedra rejected '{path}': "
    assert said.startswith(start)
    assert reason in said
    assert remedy in said.partition(reason)[2]
    assert "Correct the request" not in said
    assert said.endswith(f"(HedraBadRequestError, HTTP {status})")
    assert hedra_sandbox.submissions == []


def test_a_rejection_that_is_not_about_the_file_keeps_its_words(hedra_sandbox: Sandbox, portrait: str):
    body = {"detail": [{"loc": ["body", "workspace_id"], "msg": "no such workspace"}]}
    hedra_sandbox.faults({"on": "POST /assets", "times": 9, "when": "before", "status": 422, "body": body})
    with pytest.raises(AirflowFailException, match="workspace_id: no such workspace") as raised:
        run(upload(portrait))
    assert "convert" not in str(raised.value)
