"""What a file is, by its content, of files as the usual tools write them."""

from __future__ import annotations

import functools
import io
import struct
import wave
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.media import HEAD_BYTES, duration_ms, recognise, tell_type
from tests.media import png, wav

SECONDS = 2.0


@functools.cache
def encoded(container: str, codec: str, *, rate: int = 48_000, bare: bool = False) -> bytes:
    """Return two seconds of silence as FFmpeg writes them."""
    target = io.BytesIO()
    options = {"write_xing": "0", "id3v2_version": "0"} if bare else {}
    with av.open(target, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono"
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or 1024)
        silence = av.AudioFrame(format="s16", layout="mono", samples=int(SECONDS * rate))
        silence.sample_rate = rate
        for plane in silence.planes:
            plane.update(bytes(plane.buffer_size))
        for frame in [*resampler.resample(silence), *resampler.resample(None)]:
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return target.getvalue()


@functools.cache
def filmed(container: str, codec: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=container) as file:
        stream = file.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(20):
            for packet in stream.encode(av.VideoFrame(64, 64, "yuv420p")):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return target.getvalue()


def painted(kind: str, **options: Any) -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (64, 80)).save(target, kind, **options)
    return target.getvalue()


def wav_of(chunks: bytes, *, data: bytes = bytes(16_000), claims: int | None = None) -> bytes:
    """Return a second of 8-bit WAV at 16 kHz, with chunks of its own before the sound."""
    form = b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 16_000, 1, 8) + chunks
    size = len(data) if claims is None else claims
    return (
        b"RIFF"
        + struct.pack("<I", 0xFFFFFFFF if claims else len(form) + 8 + len(data))
        + form
        + (b"data" + struct.pack("<I", size) + data)
    )


def id3(art_bytes: int) -> bytes:
    """Return an ID3v2.3 tag with a picture of so many bytes."""
    picture = b"\0image/jpeg\0\3\0" + b"\xff" * art_bytes
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = len(frame)
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + synchsafe + frame


def eight_bit() -> bytes:
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(1)
        file.setframerate(11_025)
        file.writeframes(bytes(2 * 11_025))
    return target.getvalue()


def length(content: bytes) -> int | None:
    return duration_ms(io.BytesIO(content), len(content))


AUDIO = {
    "a.wav": (lambda: wav(2.0), "audio/wav", 2000),
    "8bit.wav": (eight_bit, "audio/wav", 1000),
    "list.wav": (lambda: wav_of(b"LIST" + struct.pack("<I", 6 << 20) + bytes(6 << 20)), "audio/wav", 1000),
    "odd-chunk.wav": (lambda: wav_of(b"junk\3\0\0\0abc\0"), "audio/wav", 1000),
    "float.wav": (lambda: encoded("wav", "pcm_f32le"), "audio/wav", 2000),
    "piped.wav": (lambda: wav_of(b"", claims=0xFFFFFFFF), "audio/wav", 1000),
    "a.mp3": (lambda: encoded("mp3", "libmp3lame"), "audio/mpeg", 2000),
    "bare.mp3": (lambda: encoded("mp3", "libmp3lame", bare=True),
                 "audio/mpeg", 2000),
    "art.mp3": (lambda: id3(3_000_000) + encoded("mp3", "libmp3lame"), "audio/mpeg", 2000),
    "a.m4a": (lambda: encoded("ipod", "aac"), "audio/mp4", 2000),
    "a.mp4": (lambda: encoded("mp4", "aac"), "audio/mp4", 2000),
    "a.ogg": (lambda: encoded("ogg", "libopus"), "audio/ogg", 2000),
    "a.flac": (lambda: encoded("flac", "flac"), "audio/flac", 2000),
    "a.aiff": (lambda: encoded("aiff", "pcm_s16be"), "audio/aiff", 2000),
    "a.aac": (lambda: encoded("adts", "aac"), "audio/aac", None),
    "a.webm": (lambda: encoded("webm", "libopus"), "audio/webm", None),
    "a.mka": (lambda: encoded("matroska", "libopus"), "audio/x-matroska", None),
}  # fmt: skip
IMAGES = {
    "a.png": (png, "image/png"),
    "a.jpg": (lambda: painted("JPEG"), "image/jpeg"),
    "progressive.jpeg": (lambda: painted("JPEG", progressive=True), "image/jpeg"),
    "a.webp": (lambda: painted("WEBP"), "image/webp"),
    "lossless.webp": (lambda: painted("WEBP", lossless=True), "image/webp"),
    "a.avif": (lambda: painted("AVIF"), "image/avif"),
    "a.gif": (lambda: painted("GIF"), "image/gif"),
    "a.bmp": (lambda: painted("BMP"), "image/bmp"),
    "a.tiff": (lambda: painted("TIFF"), "image/tiff"),
    # Pillow does not write it; this is how an iPhone's begins.
    "a.heic": (lambda: b"\0\0\0\x24ftypheic\0\0\0\0mif1MiHEmiafMiHBheic" + bytes(64), "image/heic"),
}
VIDEOS = {
    "a.mp4": (lambda: filmed("mp4", "mpeg4"), "video/mp4", 2000),
    "a.mov": (lambda: filmed("mov", "mpeg4"), "video/quicktime", 2000),
    "a.mkv": (lambda: filmed("matroska", "mpeg4"), "video/x-matroska", None),
    "a.avi": (lambda: filmed("avi", "mpeg4"), "video/x-msvideo", None),
    "a.ts": (lambda: filmed("mpegts", "mpeg2video"), "video/mp2t", None),
    "a.mpg": (lambda: filmed("mpeg", "mpeg2video"), "video/mpeg", None),
    "a.flv": (lambda: filmed("flv", "flv"), "video/x-flv", None),
}


@pytest.mark.parametrize("name", AUDIO)
def test_audio(name: str):
    make, mime, milliseconds = AUDIO[name]
    content = make()
    assert tell_type(content[:HEAD_BYTES], name, param="audio", asset_type="audio") == ("audio", mime)
    measured = length(content)
    if milliseconds is None:
        assert measured is None
    else:
        # Encoders pad: an MP3 by up to two frames and a delay.
        assert measured == pytest.approx(milliseconds, abs=4 if name.endswith(".wav") else 90)


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str):
    make, mime = IMAGES[name]
    assert tell_type(make()[:HEAD_BYTES], name, param="image", asset_type="image") == ("image", mime)


@pytest.mark.parametrize("name", VIDEOS)
def test_videos(name: str):
    make, mime, milliseconds = VIDEOS[name]
    content = make()
    assert tell_type(content[:HEAD_BYTES], name, param="source") == ("video", mime)
    assert length(content) == milliseconds


@pytest.mark.parametrize("name", AUDIO | IMAGES)
@pytest.mark.parametrize("disguise", ["a.png", "a.wav", "noname", "a.unknown"])
def test_the_content_decides_whatever_the_name(name: str, disguise: str):
    make, mime = (AUDIO | IMAGES)[name][:2]
    kind = mime.partition("/")[0]
    head = make()[:HEAD_BYTES]
    assert tell_type(head, disguise, param="x", asset_type=kind) == (kind, mime)
    other = "audio" if kind == "image" else "image"
    with pytest.raises(HedraValueError, match=r"^x: ") as raised:
        tell_type(head, disguise, param="x", asset_type=other)
    assert raised.value.param == "x"


NO_MEDIA = {
    "text": b"Good morning, and welcome.\n",
    "long text": "Größe ist relativ. ".encode() * 1000,
    "UTF-16": "Good morning".encode("utf-16"),
    "a web page": b"<!DOCTYPE html><title>404</title>",
    "an error of S3": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
    "a ZIP": b"PK\x03\x04\x14\x00\x08\x00",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("what", NO_MEDIA)
@pytest.mark.parametrize(
    ("name", "kind"), [("a.wav", "audio"), ("a.mp3", "audio"), ("a.png", "image"), ("a", "video")]
)
def test_what_is_no_media_file_is_refused(what: str, name: str, kind: str):
    with pytest.raises(HedraValueError, match=rf"^{kind}: '{name}' is .*, not an? {kind}.*Nothing was sent"):
        tell_type(NO_MEDIA[what][:HEAD_BYTES], name, param=kind, asset_type=kind)


@pytest.mark.parametrize("name", ["a.wav", "a.PNG", "a.m4a"])
def test_a_format_that_has_a_signature_must_have_it(name: str):
    with pytest.raises(HedraValueError, match="does not begin as such a file does"):
        tell_type(bytes(100), name, param="source")


def test_an_unknown_format_is_left_to_hedra():
    junk = b"\0\x80\x81" * 50
    assert tell_type(junk, "a.mp3", param="audio") == ("audio", "audio/mpeg")
    assert tell_type(junk, "a.bin", param="source", asset_type="video") == (
        "video",
        "application/octet-stream",
    )
    with pytest.raises(HedraValueError, match="Give asset_type"):
        tell_type(junk, "a.bin", param="source")
    with pytest.raises(HedraValueError, match="none of image, audio, video"):
        tell_type(png(), "a.png", param="source", asset_type="picture")


STARTS = [b"", b"RIFF\0\0\0\0WAVEfmt ", b"ID3", b"\xff\xfb\x90", b"OggS", b"fLaC", b"\0\0\0\x18ftypM4A "]


@given(st.binary(max_size=400), st.sampled_from([*STARTS, b"FORM\0\0\0\0AIFF"]))
def test_no_content_breaks_it(rest: bytes, start: bytes):
    content = start + rest
    found = recognise(content)
    assert found is None or set(found.kinds) <= {"image", "audio", "video"}
    file = io.BytesIO(content)
    measured = duration_ms(file, len(content))
    assert measured is None or measured > 0
    assert file.tell() == 0


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.flac", "a.ogg", "a.wav"])
def test_a_file_that_ends_early_still_goes(name: str):
    content = AUDIO[name][0]()
    for size in (10, 30, len(content) // 2, len(content) - 3):
        length(content[:size])


class Endless(io.RawIOBase):
    """A file that claims to be long, and counts what is read of it."""

    def __init__(self, start: bytes) -> None:
        self.start, self.at, self.reads, self.most = start, 0, 0, 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        self.most = max(self.most, size)
        chunk = (self.start[self.at :] + bytes(size))[:size]
        self.at += size
        return chunk

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset
        return offset

    def tell(self) -> int:
        return self.at


def test_a_parser_is_not_led_on():
    """An MP3 whose frames never come is not read to its end, a chunk that claims a gigabyte is not read."""
    mp3 = Endless(b"\xff\xfb\x90\x00")
    assert duration_ms(mp3, 1 << 40) is None  # type: ignore[arg-type]
    assert mp3.reads <= 100_001
    bomb = Endless(b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 1 << 30))
    assert duration_ms(bomb, 1 << 40) is None  # type: ignore[arg-type]
    assert bomb.most < 1 << 23
