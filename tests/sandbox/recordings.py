"""Audio files as people have them, made with PyAV."""

from __future__ import annotations

import math
import struct
import tempfile
from array import array
from typing import Any

import av

SECONDS = 1.3
RATE = 44_100


def encode(
    container: str,
    codec: str,
    seconds: float = SECONDS,
    rate: int = RATE,
    layout: str = "mono",
    **options: Any,
) -> bytes:
    """Encode a tone.

    :param container: FFmpeg's name of the file format.
    :param codec: FFmpeg's name of the encoder.
    :param seconds: length.
    :param rate: sample rate in Hz.
    :param layout: ``mono`` or ``stereo``.
    :param options: of the container, such as ``movflags``; ``bit_rate`` in bits per second.
    """
    bit_rate = options.pop("bit_rate", None)
    # A real file: "faststart" reads it again.
    with (
        tempfile.NamedTemporaryFile() as out,
        av.open(out.name, "w", format=container, options=options) as file,
    ):
        stream: Any = file.add_stream(codec, rate=rate)
        stream.layout = layout
        stream.options = {"strict": "experimental"}
        if bit_rate:
            stream.bit_rate = bit_rate
        tone = array(
            "h", (round(9000 * math.sin(i * 440 * math.tau / rate)) for i in range(round(seconds * rate)))
        )
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(tone))
        frame.planes[0].update(tone.tobytes().ljust(frame.planes[0].buffer_size, b"\0"))
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            stream.codec_context.format, layout, rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
        file.close()
        return out.read()


def mp3(xing: bool = True, **options: Any) -> bytes:
    """An MP3 without an ID3 tag, with a Xing header or without."""
    return encode("mp3", "libmp3lame", id3v2_version="0", write_xing=str(int(xing)), **options)


def id3(size: int, body: bytes = b"") -> bytes:
    """An ID3 tag with a body of so many bytes."""
    length = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + length + body.ljust(size, b"\0")


def picture_tag(size: int) -> bytes:
    """An ID3 tag with a picture of so many bytes."""
    # Bytes that resemble MP3 frames must not count.
    picture = b"\0image/jpeg\0\3\0" + (b"\xff\xfb\x90\x64" + bytes(96)) * (size // 100)
    length = bytes(len(picture) >> shift & 127 for shift in (21, 14, 7, 0))
    frame = b"APIC" + length + b"\0\0" + picture
    return id3(len(frame), frame)


def wav(**options: Any) -> bytes:
    return encode("wav", "pcm_s16le", **options)


def with_wav_sizes(data: bytes, size: int) -> bytes:
    """A WAV whose header has this value as both of its sizes."""
    at = data.index(b"data") + 4
    changed = bytearray(data)
    changed[4:8] = changed[at : at + 4] = struct.pack("<I", size)
    return bytes(changed)


def extensible_wav() -> bytes:
    """A WAV whose format is WAVE_FORMAT_EXTENSIBLE, with 24 bits."""
    samples = b"".join(struct.pack("<i", (n * 90_000) % 2**30)[1:] for n in range(round(SECONDS * RATE)))
    subformat = bytes.fromhex("0100000000001000800000aa00389b71")
    head = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, RATE * 3, 3, 24, 22, 24, 4) + subformat
    chunks = (
        b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(samples)) + samples
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def kinds() -> dict[str, tuple[bytes, float]]:
    """The files by name, each with the seconds that a decoder plays."""
    plain, bare = mp3(), mp3(xing=False)
    adts = encode("adts", "aac")
    sound = wav()
    cut = sound[: len(sound) // 2 + 1]
    return {
        "mp3": (plain, SECONDS),
        "mp3 without Xing": (bare, SECONDS),
        "mp3 with variable rate": (encode("mp3", "libmp3lame", bit_rate=0), SECONDS),
        "mp3 behind a tag of 3 MB": (id3(3_000_000) + bare, SECONDS),
        "mp3 behind a picture of 3 MB": (picture_tag(3_000_000) + plain, SECONDS),
        "mp3 behind junk": (b"junk before the first frame\0\1\2" * 200 + bare, SECONDS),
        "mp3 joined": (plain + plain, 2 * SECONDS),
        "mp3 joined with tags": (plain + id3(4000) + bare + plain, 3 * SECONDS),
        "mp3 joined of other rates": (plain + mp3(rate=22_050, bit_rate=32_000), 2 * SECONDS),
        "mp3 mono 22 kHz": (mp3(rate=22_050, bit_rate=32_000), SECONDS),
        "mp3 stereo": (mp3(layout="stereo"), SECONDS),
        "aac": (adts, SECONDS),
        "aac tagged": (id3(500) + adts, SECONDS),
        "aac joined": (adts + adts, 2 * SECONDS),
        "m4a": (encode("ipod", "aac"), SECONDS),
        "m4a faststart": (encode("ipod", "aac", movflags="faststart"), SECONDS),
        "m4a fragmented": (
            encode("mp4", "aac", movflags="frag_keyframe+empty_moov", frag_duration="200000"),
            SECONDS,
        ),
        "wav": (sound, SECONDS),
        "wav extensible": (extensible_wav(), SECONDS),
        "wav rf64": (wav(rf64="always"), SECONDS),
        "wav with sizes 0": (with_wav_sizes(sound, 0), SECONDS),
        "wav with sizes 0xFFFFFFFF": (with_wav_sizes(sound, 0xFFFFFFFF), SECONDS),
        "wav cut": (cut, SECONDS / 2),
        "flac": (encode("flac", "flac"), SECONDS),
        "flac in ogg": (encode("ogg", "flac"), SECONDS),
        "opus": (encode("ogg", "libopus", rate=48_000), SECONDS),
        "vorbis": (encode("ogg", "vorbis", layout="stereo"), SECONDS),
        "webm": (encode("webm", "libopus", rate=48_000), SECONDS),
        "caf": (encode("caf", "pcm_s16be"), SECONDS),
        "aiff": (encode("aiff", "pcm_s16be"), SECONDS),
        "au": (encode("au", "pcm_s16be"), SECONDS),
    }
