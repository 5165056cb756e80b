"""Media files for tests, made by FFmpeg's libraries (PyAV) and by a few lines of our own."""

from __future__ import annotations

import functools
import io
import math
import struct
import tempfile
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image

SECONDS = 2.0


@functools.cache
def encoded(
    container: str,
    codec: str,
    *,
    rate: int = 48_000,
    seconds: float = SECONDS,
    layout: str = "mono",
    options: tuple[tuple[str, str], ...] = (),
    coding: tuple[tuple[str, str], ...] = (),
    seekable: bool = True,
    bit_rate: int | None = None,
) -> bytes:
    """
    Return a tone as FFmpeg writes it.

    :param options: Of the container.
    :param coding: Of the codec.
    :param seekable: Whether FFmpeg can go back to fill in its headers; to a pipe it can't.
    """
    if not seekable:
        pipe = _Pipe()
        _encode(pipe, container, codec, rate, seconds, layout, dict(options), dict(coding), bit_rate)
        return pipe.getvalue()
    # A path: to move the table to the start of an MP4, FFmpeg opens the file again.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound"
        _encode(str(path), container, codec, rate, seconds, layout, dict(options), dict(coding), bit_rate)
        return path.read_bytes()


def _encode(
    target: Any,
    container: str,
    codec: str,
    rate: int,
    seconds: float,
    layout: str,
    options: dict[str, str],
    coding: dict[str, str],
    bit_rate: int | None,
) -> None:
    with av.open(target, "w", format=container, options=options) as file:
        stream = file.add_stream(codec, rate=rate, options=coding)
        stream.layout = layout
        if bit_rate:
            stream.bit_rate = bit_rate
        resampler = av.AudioResampler(stream.format, layout, rate, frame_size=stream.frame_size or 1024)
        for frame in [*resampler.resample(_tone(seconds, rate)), *resampler.resample(None)]:
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode(None):
            # The last one of FLAC is empty; the muxer of FLAC reads the total from it, others reject it.
            if packet.size or container == "flac":
                file.mux(packet)


class _Pipe(io.BytesIO):
    """A file that can't be sought, as standard output."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise OSError("a pipe")


def _tone(seconds: float, rate: int) -> av.AudioFrame:
    samples = array("h", (round(8000 * math.sin(n * 2764 / rate)) for n in range(int(seconds * rate))))
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples))
    frame.sample_rate = rate
    frame.pts, frame.time_base = 0, Fraction(1, rate)
    frame.planes[0].update(samples.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
    return frame


def decoded_ms(content: bytes) -> float:
    """Return how long a decoder plays, by the samples that come out of it."""
    seconds = 0.0
    with av.open(io.BytesIO(content)) as file:
        stream = file.streams.audio[0]
        for packet in file.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                # `ffmpeg` goes on behind what it can't decode.
                continue
            seconds += sum(frame.samples / frame.sample_rate for frame in frames)
    return seconds * 1000


@functools.cache
def filmed(container: str, codec: str) -> bytes:
    """Return two seconds of pictures."""
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


def painted(kind: str, *, mode: str = "RGB", size: tuple[int, int] = (64, 80), **options: Any) -> bytes:
    """Return an image as Pillow writes it."""
    target = io.BytesIO()
    image = Image.new(mode, size)
    if mode == "RGB":
        image.putdata([(n % 251, n % 241, n % 239) for n in range(size[0] * size[1])])
    image.save(target, kind, **options)
    return target.getvalue()


def wav_of(
    data: bytes = bytes(16_000), *, chunks: bytes = b"", claims: int | None = None, behind: bytes = b""
) -> bytes:
    """
    Return a second of 8-bit WAV at 16 kHz.

    :param chunks: What stands before the sound.
    :param claims: The size that the header of the sound claims.
    :param behind: What stands behind the sound.
    """
    form = b"WAVE" + b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 16_000, 1, 8) + chunks
    size = len(data) if claims is None else claims
    riff = len(form) + 8 + len(data) if claims is None else claims
    return b"RIFF" + struct.pack("<I", riff) + form + b"data" + struct.pack("<I", size) + data + behind


def id3(art_bytes: int) -> bytes:
    """Return an ID3v2.3 tag with a picture of so many bytes."""
    picture = b"\0image/jpeg\0\3\0" + b"\xff" * art_bytes
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = len(frame)
    synchsafe = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\3\0\0" + synchsafe + frame
