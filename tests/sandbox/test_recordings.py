"""Audio files as people have them: measured as a decoder plays them, charged for that, and rendered."""

from __future__ import annotations

import io
import math
import struct
import sys
import threading
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox import recordings
from tests.sandbox.conftest import Client, wav_bytes
from tests.sandbox.test_media import durations

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    "mp3", "mp3 without Xing", "mp3 with variable rate", "mp3 behind a tag of 3 MB",
    "mp3 behind a picture of 3 MB", "mp3 behind junk", "mp3 joined", "mp3 joined with tags",
    "mp3 joined of other rates", "mp3 mono 22 kHz", "mp3 stereo", "aac", "aac tagged", "aac joined", "m4a",
    "m4a faststart", "m4a fragmented", "wav", "wav extensible", "wav rf64", "wav with sizes 0",
    "wav with sizes 0xFFFFFFFF", "wav cut", "flac", "flac in ogg", "opus", "vorbis", "webm", "caf", "aiff",
    "au",
)  # fmt: skip


@cache
def kinds() -> dict[str, tuple[bytes, float]]:
    return recordings.kinds()


def test_the_names_are_those_of_the_files() -> None:
    assert set(NAMES) == set(kinds())


def upload(hedra: Client, data: bytes, kind: str = "audio") -> Any:
    asset_id = hedra.post("/assets", json={"name": "x", "type": kind}).json()["id"]
    return hedra.post(f"/assets/{asset_id}/upload", files={"file": ("x", data)})


@pytest.mark.parametrize("name", NAMES)
def test_is_measured_charged_and_rendered_as_it_plays(hedra: Client, name: str) -> None:
    data, seconds = kinds()[name]
    asset = upload(hedra, data).json()
    measured = asset["asset"]["duration_ms"] / 1000
    # A joined MP3 has up to a frame of padding (26 ms) and the encoder's delay (25 ms) at each seam.
    assert measured == pytest.approx(seconds, abs=0.1 + 0.05 * ("joined" in name))
    status = hedra.make(audio_id=asset["id"])
    assert status["status"] == "complete", status["error"]
    assert [row["credits"] for row in hedra.sandbox.submissions] == [math.ceil(1.5 * measured)]
    for length in durations(hedra.download(status["download_url"]).content):
        assert length == pytest.approx(measured, abs=0.1)


def test_packets_that_cannot_be_decoded_are_skipped(hedra: Client) -> None:
    data = bytearray(recordings.mp3(xing=False))
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(range(250)) * 8
    asset = upload(hedra, bytes(data)).json()
    assert 0.9 < asset["asset"]["duration_ms"] / 1000 < recordings.SECONDS + 0.1
    assert hedra.make(audio_id=asset["id"])["status"] == "complete"


@pytest.mark.parametrize(
    "data",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile voice.wav\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        b"RIFF\xff\xff\xff\xffWAVE",
        b"ID3\4\0\0\0\0\4\0" + bytes(512),
        recordings.mp3()[:60],
        bytes(range(256)) * 400,
        b"%PDF-1.7\n" + b"x" * 5000,
    ],
)
def test_what_holds_no_audio_is_rejected_at_the_upload(hedra: Client, data: bytes) -> None:
    """A playlist too: FFmpeg would open the files and addresses that it names."""
    answer = upload(hedra, data)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"][0]["loc"] == ["body", "file"]


def test_a_video_without_sound_is_no_audio(hedra: Client) -> None:
    silent = hedra.make(model_slug="sandbox/motion", audio_id=None, inputs={"duration_ms": 300})
    data = hedra.download(silent["download_url"]).content
    assert upload(hedra, data, "video").status_code == 200
    assert upload(hedra, data[: len(data) // 3], "video").status_code == 422
    assert upload(hedra, recordings.wav(), "video").status_code == 422


def test_audio_of_hours_is_rejected_at_the_upload(hedra: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few megabytes of FLAC can hold days of silence; the decoder stops at a bound."""
    monkeypatch.setattr("hedra_provider.sandbox.sound.MAX_SECONDS", 2)
    assert upload(hedra, wav_bytes(1.9)).status_code == 200
    answer = upload(hedra, wav_bytes(2.1))
    assert (answer.status_code, "longer than 2 seconds" in answer.text) == (422, True)


def test_a_measurement_holds_nothing_else_up(hedra: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    measuring, go_on = threading.Event(), threading.Event()

    def blocked(path: Path, *more: Any) -> int:
        measuring.set()
        assert go_on.wait(30)
        return 1000

    monkeypatch.setattr("hedra_provider.sandbox.sound.duration_ms", blocked)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(upload, hedra, wav_bytes(1.0))
        assert measuring.wait(30)
        other = Client(hedra.sandbox)
        voice = other.get("/voices").json()[0]["id"]
        speech = {"type": "text_to_speech", "voice_id": voice, "text": "Hello"}
        assert other.make(body=speech)["status"] == "complete"
        assert not slow.done()
        go_on.set()
        assert slow.result().status_code == 200


def test_an_asset_is_decoded_once(hedra: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from hedra_provider.sandbox import sound

    decoded: list[Path] = []
    real = sound.duration_ms

    def counted(path: Path, *more: Any) -> int:
        decoded.append(path)
        return real(path, *more)

    monkeypatch.setattr(sound, "duration_ms", counted)
    audio_id = hedra.asset("audio", wav_bytes(1.0))
    for _ in range(2):
        assert hedra.submit(audio_id=audio_id).status_code == 200
    hedra.get("/assets", params={"type": "audio"})
    # Two of hedra.submit(), which uploads a voice that audio_id replaces.
    assert len(decoded) == 1 + 2


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 17])
def test_any_number_of_channels_is_rendered_or_rejected(hedra: Client, channels: int) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack("<h", 9000) * channels * 8000)
    answer = upload(hedra, out.getvalue())
    if answer.status_code == 200:
        assert hedra.make(audio_id=answer.json()["id"])["status"] == "complete"
    else:
        assert answer.status_code == 422
        assert "channel layout" in answer.text
    assert channels > 6 or answer.status_code == 200


def test_silence_before_the_audio_is_bounded(hedra: Client) -> None:
    answer = hedra.submit(audio_start_ms=-600_001, inputs={"duration_ms": 1000})
    assert (answer.status_code, hedra.sandbox.submissions) == (400, [])
    began = time.monotonic()
    status = hedra.make(audio_start_ms=-599_000, inputs={"duration_ms": 1000})
    assert status["status"] == "complete"
    assert time.monotonic() - began < 20


@pytest.mark.hedra_sandbox(media=False)
@pytest.mark.parametrize("name", NAMES)
def test_without_media_the_length_is_the_same(hedra: Client, name: str) -> None:
    data, seconds = kinds()[name]
    measured = upload(hedra, data).json()["asset"]["duration_ms"] / 1000
    assert measured == pytest.approx(seconds, abs=0.1 + 0.05 * ("joined" in name))


@pytest.mark.hedra_sandbox(media=False)
@pytest.mark.parametrize("missing", [False, True])
def test_without_media_no_upload_is_rejected(
    hedra: Client, missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, "av", None)
    for data in (b"x" * 32_000, recordings.with_wav_sizes(recordings.wav(), 44)[:32_000]):
        asset = upload(hedra, data).json()
        assert asset["asset"]["duration_ms"] in (2000, pytest.approx(0, abs=1))
    assert hedra.make(audio_id=hedra.asset("audio", b"x" * 32_000))["status"] == "complete"
