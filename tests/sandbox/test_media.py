"""The finished video is real, and has the requested length, shape and content."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import pytest
from PIL import Image

from tests.sandbox.conftest import Client, portrait_bytes, wav_bytes

TOLERANCE_SECONDS = 0.1


def video_of(hedra: Client, **options: object) -> bytes:
    status = hedra.make(**options)
    assert status["status"] == "complete", status
    return hedra.download(status["download_url"]).content


def durations(video: bytes) -> list[float]:
    """Of the container and of each stream, in seconds."""
    with av.open(io.BytesIO(video)) as container:
        streams = [float((s.duration or 0) * (s.time_base or Fraction(0))) for s in container.streams]
        return [(container.duration or 0) / av.time_base, *streams]


def first_picture(video: bytes) -> Image.Image:
    with av.open(io.BytesIO(video)) as container:
        return next(container.decode(video=0)).to_image()


def loudness(video: bytes, from_seconds: float, to_seconds: float) -> float:
    """Largest sample between two times, 0 to 1."""
    peak = 0.0
    with av.open(io.BytesIO(video)) as container:
        for frame in container.decode(audio=0):
            if frame.time is not None and from_seconds <= frame.time and frame.time + 0.03 <= to_seconds:
                samples = memoryview(bytes(frame.planes[0])).cast("f")
                peak = max(peak, max(map(abs, samples[: frame.samples])))
    return peak


@pytest.mark.parametrize("seconds", [0.3, 3.0, 3.14, 7.77])
def test_is_as_long_as_the_audio(hedra: Client, seconds: float) -> None:
    for length in durations(video_of(hedra, seconds=seconds)):
        assert length == pytest.approx(seconds, abs=TOLERANCE_SECONDS)


def test_follows_an_mp3_too(hedra: Client) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=44_100)
        stream.layout = "stereo"
        frame = av.AudioFrame(format="s16p", layout="stereo", samples=44_100 * 4)
        frame.sample_rate, frame.pts = 44_100, 0
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio_id = hedra.asset("audio", out.getvalue(), "speech.mp3")
    measured = hedra.get("/assets", params={"type": "audio"}).json()[0]["asset"]["duration_ms"]
    assert measured == pytest.approx(4000, abs=100)
    for length in durations(video_of(hedra, audio_id=audio_id)):
        assert length == pytest.approx(4.0, abs=TOLERANCE_SECONDS)


@pytest.mark.parametrize(
    ("ratio", "resolution", "size"),
    [
        ("9:16", "540p", (540, 960)), ("9:16", "720p", (720, 1280)), ("9:16", "1080p", (1080, 1920)),
        ("16:9", "540p", (960, 540)), ("16:9", "720p", (1280, 720)), ("16:9", "1080p", (1920, 1080)),
        ("1:1", "540p", (540, 540)), ("1:1", "720p", (720, 720)), ("1:1", "1080p", (1080, 1080)),
    ],
)  # fmt: skip
def test_shape_and_codecs(hedra: Client, ratio: str, resolution: str, size: tuple[int, int]) -> None:
    video = video_of(hedra, seconds=0.5, inputs={"aspect_ratio": ratio, "resolution": resolution})
    with av.open(io.BytesIO(video)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
        assert (picture.width, picture.height, picture.pix_fmt) == (*size, "yuv420p")
    # The index comes before the pictures: playing starts while the file still loads.
    assert video.index(b"moov") < video.index(b"mdat")


def test_shows_the_portrait_and_the_mark(hedra: Client) -> None:
    green = io.BytesIO()
    Image.new("RGB", (200, 200), (20, 200, 40)).save(green, "PNG")
    picture = first_picture(video_of(hedra, start_keyframe_id=hedra.asset("image", green.getvalue())))
    red, middle, blue = picture.getpixel((270, 600))
    assert middle > 150 > 100 > max(red, blue)
    corner = picture.crop((10, 10, 220, 90))
    # Dark ground and white letters.
    darkest, brightest = corner.convert("L").getextrema()
    assert darkest < 90
    assert brightest > 200


def test_rotates_the_portrait_upright(hedra: Client) -> None:
    picture = Image.new("RGB", (400, 300), (0, 0, 255))
    picture.paste((255, 0, 0), (0, 0, 200, 300))
    exif = Image.Exif()
    exif[0x0112] = 6  # displayed after a rotation by 90 degrees clockwise: the left becomes the top
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=exif)
    asset_id = hedra.asset("image", out.getvalue(), "phone.jpg")
    measured = hedra.get("/assets", params={"type": "image"}).json()[0]["asset"]
    assert (measured["width"], measured["height"]) == (300, 400)
    frame = first_picture(video_of(hedra, start_keyframe_id=asset_id))
    top, bottom = frame.getpixel((400, 200)), frame.getpixel((400, 800))
    assert top[0] > 150 > top[2]
    assert bottom[2] > 150 > bottom[0]


def test_duration_ms_trims(hedra: Client) -> None:
    for length in durations(video_of(hedra, seconds=3, inputs={"duration_ms": 1200})):
        assert length == pytest.approx(1.2, abs=TOLERANCE_SECONDS)


def test_duration_ms_pads_with_silence(hedra: Client) -> None:
    video = video_of(hedra, seconds=1, inputs={"duration_ms": 3000})
    for length in durations(video):
        assert length == pytest.approx(3.0, abs=TOLERANCE_SECONDS)
    assert loudness(video, 0.2, 0.9) > 0.2
    assert loudness(video, 1.2, 2.9) < 0.01


def test_a_negative_audio_start_prepends_silence(hedra: Client) -> None:
    video = video_of(hedra, seconds=1, audio_start_ms=-1000)
    for length in durations(video):
        assert length == pytest.approx(2.0, abs=TOLERANCE_SECONDS)
    assert loudness(video, 0.0, 0.9) < 0.01
    assert loudness(video, 1.1, 1.9) > 0.2


def test_a_positive_audio_start_crops(hedra: Client) -> None:
    silent, tone = wav_bytes(1.0), wav_bytes(1.0)
    quiet_then_loud = bytearray(tone[:44])
    quiet_then_loud += bytes(len(silent) - 44) + tone[44:]
    size = len(quiet_then_loud)
    quiet_then_loud[4:8] = (size - 8).to_bytes(4, "little")
    quiet_then_loud[40:44] = (size - 44).to_bytes(4, "little")
    audio_id = hedra.asset("audio", bytes(quiet_then_loud))
    whole = video_of(hedra, audio_id=audio_id)
    cropped = video_of(hedra, audio_id=audio_id, audio_start_ms=1000)
    assert loudness(whole, 0.0, 0.9) < 0.01
    assert loudness(cropped, 0.1, 0.9) > 0.2
    for length in durations(cropped):
        assert length == pytest.approx(1.0, abs=TOLERANCE_SECONDS)


def test_inline_speech_can_be_heard(hedra: Client) -> None:
    voice = hedra.get("/voices").json()[0]["id"]
    speech = {"type": "text_to_speech", "voice_id": voice, "text": "Hello world. " * 3, "speed": 1.0}
    video = video_of(hedra, audio_id=None, audio_generation=speech)
    for length in durations(video):
        assert length == pytest.approx(39 / 15, abs=TOLERANCE_SECONDS)
    assert loudness(video, 0.0, 2.5) > 0.1


class TestUploads:
    @pytest.mark.parametrize(
        ("kind", "data", "status"),
        [
            ("audio", b"", 400),
            ("image", b"", 400),
            ("image", b"not an image", 422),
            ("audio", b"not audio" * 100, 422),
            ("audio", portrait_bytes(), 422),
            ("image", portrait_bytes()[:200], 422),
        ],
    )
    def test_rejected(self, hedra: Client, kind: str, data: bytes, status: int) -> None:
        asset_id = hedra.post("/assets", json={"name": "x", "type": kind}).json()["id"]
        answer = hedra.post(f"/assets/{asset_id}/upload", files={"file": ("x", data)})
        assert answer.status_code == status, answer.text
        assert hedra.get("/assets", params={"type": kind}).json() == []

    def test_again_is_safe(self, hedra: Client) -> None:
        asset_id = hedra.asset("audio", wav_bytes(1))
        again = hedra.post(f"/assets/{asset_id}/upload", files={"file": ("b.wav", wav_bytes(2))})
        assert again.json()["asset"]["duration_ms"] == 2000

    def test_without_the_field(self, hedra: Client) -> None:
        asset_id = hedra.post("/assets", json={"name": "x", "type": "audio"}).json()["id"]
        path = f"/assets/{asset_id}/upload"
        for answer in (hedra.post(path, content=b"x"), hedra.post(path, files={"data": b"x"})):
            assert answer.status_code == 422
            assert answer.json()["detail"][0]["loc"] == ["body", "file"]
            assert answer.json()["detail"][0]["type"] == "missing"

    def test_to_unknown_assets(self, hedra: Client) -> None:
        path = "/assets/00000000-0000-4000-8000-000000000000/upload"
        assert hedra.post(path, files={"file": b"x"}).status_code == 404
        assert hedra.post("/assets/nonsense/upload", files={"file": b"x"}).status_code == 422

    def test_a_reserved_id_is_honoured_once(self, hedra: Client) -> None:
        mine = "11111111-2222-4333-8444-555555555555"
        assert hedra.asset("audio", wav_bytes(1), reserved_asset_id=mine) == mine
        again = hedra.post("/assets", json={"name": "x", "type": "audio", "reserved_asset_id": mine})
        assert again.status_code == 409
        assert again.json()["error"]["type"] == "ALREADY_EXISTS"

    @pytest.mark.hedra_sandbox(max_bytes=100_000)
    def test_beyond_the_disk_space_is_rejected(self, hedra: Client) -> None:
        asset_id = hedra.post("/assets", json={"name": "x", "type": "audio"}).json()["id"]
        answer = hedra.post(f"/assets/{asset_id}/upload", files={"file": wav_bytes(10)})
        assert answer.status_code == 413
        assert hedra.asset("audio", wav_bytes(1))

    def test_videos_go_to_the_upload_url(self, hedra: Client) -> None:
        video = video_of(hedra, seconds=0.5)
        created = hedra.post("/assets", json={"name": "clip.mp4", "type": "video"}).json()
        assert hedra.get("/assets", params={"type": "video", "ids": created["id"]}).json() == []
        put = hedra.http.build_request("PUT", created["upload_url"], content=video)
        put.headers.pop("x-api-key")
        assert hedra.http.send(put).status_code == 200
        listed = hedra.get("/assets", params={"type": "video", "ids": created["id"]}).json()[0]
        assert (listed["asset"]["width"], listed["asset"]["duration_ms"]) == (540, 500)
        assert hedra.download(listed["asset"]["url"]).content == video


@pytest.mark.hedra_sandbox(media=False)
def test_without_media_everything_else_works(hedra: Client) -> None:
    status = hedra.make(seconds=2, inputs={"resolution": "720p"})
    assert status["status"] == "complete"
    assert b"placeholder" in hedra.download(status["url"]).content
    assert hedra.credits() == 10_000 - 6
