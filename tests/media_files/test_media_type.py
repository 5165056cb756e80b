"""The type of a file by its content, for files as the usual tools write them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.api.errors import HedraValueError
from hedra_provider.media.media_type import HEAD_BYTES, detect_media_type, read_head, recognise
from tests.media import png, wav
from tests.media_files.samples import encoded, filmed, id3, painted

AUDIO = {
    "a.wav": (lambda: wav(2.0), "audio/wav"),
    "a.mp3": (lambda: encoded("mp3", "libmp3lame"), "audio/mpeg"),
    "art.mp3": (lambda: id3(3_000_000) + encoded("mp3", "libmp3lame"), "audio/mpeg"),
    "a.m4a": (lambda: encoded("ipod", "aac"), "audio/mp4"),
    "a.mp4": (lambda: encoded("mp4", "aac"), "audio/mp4"),
    "a.ogg": (lambda: encoded("ogg", "libopus"), "audio/ogg"),
    "a.flac": (lambda: encoded("flac", "flac"), "audio/flac"),
    "tagged.flac": (lambda: id3(9000) + encoded("flac", "flac"), "audio/flac"),
    "a.aiff": (lambda: encoded("aiff", "pcm_s16be"), "audio/aiff"),
    "a.au": (lambda: encoded("au", "pcm_s16be"), "audio/basic"),
    "a.caf": (lambda: encoded("caf", "pcm_s16be"), "audio/x-caf"),
    "a.aac": (lambda: encoded("adts", "aac"), "audio/aac"),
    "tagged.aac": (lambda: id3(9000) + encoded("adts", "aac"), "audio/aac"),
    "a.webm": (lambda: encoded("webm", "libopus"), "audio/webm"),
    "a.mka": (lambda: encoded("matroska", "libopus"), "audio/x-matroska"),
}
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
    "a.mp4": (lambda: filmed("mp4", "mpeg4"), "video/mp4"),
    "a.mov": (lambda: filmed("mov", "mpeg4"), "video/quicktime"),
    "a.mkv": (lambda: filmed("matroska", "mpeg4"), "video/x-matroska"),
    "a.avi": (lambda: filmed("avi", "mpeg4"), "video/x-msvideo"),
    "a.ts": (lambda: filmed("mpegts", "mpeg2video"), "video/mp2t"),
    "a.mpg": (lambda: filmed("mpeg", "mpeg2video"), "video/mpeg"),
    "a.flv": (lambda: filmed("flv", "flv"), "video/x-flv"),
}


def head_of(content: bytes) -> bytes:
    file = io.BytesIO(content)
    head = read_head(file)
    assert file.tell() == 0
    return head


@pytest.mark.parametrize("name", AUDIO)
def test_audio(name: str):
    make, mime = AUDIO[name]
    assert detect_media_type(head_of(make()), name, param="audio", asset_type="audio") == ("audio", mime)


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str):
    make, mime = IMAGES[name]
    assert detect_media_type(make()[:HEAD_BYTES], name, param="image", asset_type="image") == ("image", mime)


@pytest.mark.parametrize("name", VIDEOS)
def test_videos(name: str):
    make, mime = VIDEOS[name]
    assert detect_media_type(make()[:HEAD_BYTES], name, param="source") == ("video", mime)


@pytest.mark.parametrize("name", AUDIO | IMAGES)
@pytest.mark.parametrize("disguise", ["a.png", "a.wav", "noname", "a.unknown"])
def test_the_content_decides_whatever_the_name(name: str, disguise: str):
    make, mime = (AUDIO | IMAGES)[name]
    kind = mime.partition("/")[0]
    head = head_of(make())
    assert detect_media_type(head, disguise, param="x", asset_type=kind) == (kind, mime)
    other = "audio" if kind == "image" else "image"
    with pytest.raises(HedraValueError, match=r"^x: ") as raised:
        detect_media_type(head, disguise, param="x", asset_type=other)
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
def test_a_file_that_is_no_media_is_rejected(what: str, name: str, kind: str):
    with pytest.raises(HedraValueError, match=rf"^{kind}: '{name}' is .*, not an? {kind}.*Nothing was sent"):
        detect_media_type(NO_MEDIA[what][:HEAD_BYTES], name, param=kind, asset_type=kind)


@pytest.mark.parametrize("name", ["a.wav", "a.PNG", "a.m4a"])
def test_a_format_that_has_a_signature_must_have_it(name: str):
    with pytest.raises(HedraValueError, match="does not begin as such a file does"):
        detect_media_type(bytes(100), name, param="source")


def test_an_unknown_format_is_left_to_hedra():
    junk = b"\0\x80\x81" * 50
    assert detect_media_type(junk, "a.mp3", param="audio") == ("audio", "audio/mpeg")
    assert detect_media_type(junk, "a.bin", param="source", asset_type="video") == (
        "video",
        "application/octet-stream",
    )
    with pytest.raises(HedraValueError, match="Give asset_type"):
        detect_media_type(junk, "a.bin", param="source")
    with pytest.raises(HedraValueError, match="not one of image, audio, video"):
        detect_media_type(png(), "a.png", param="source", asset_type="picture")


STARTS = [b"", b"RIFF\0\0\0\0WAVEfmt ", b"ID3", b"\xff\xfb\x90", b"OggS", b"fLaC", b"\0\0\0\x18ftypM4A "]


@given(st.binary(max_size=400), st.sampled_from([*STARTS, b"FORM\0\0\0\0AIFF"]))
def test_no_content_breaks_it(rest: bytes, start: bytes):
    content = start + rest
    found = recognise(content)
    assert found is None or set(found.kinds) <= {"image", "audio", "video"}
