"""Measures what was uploaded and synthesises speech; :mod:`.video` makes the videos.

PyAV and Pillow are imported when work starts; :func:`synthesise_speech`, :func:`speech_duration_ms` and
:func:`guess` do without them.
"""

from __future__ import annotations

import math
import wave
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from PIL import Image

CHARACTERS_PER_SECOND = 15
"""Speed of synthesised speech at ``speed=1.0``: about 170 English words a minute."""

SPEECH_RATE = 22_050
"""Sample rate of synthesised speech, in Hz."""

_NOTES_HZ = (220.0, 246.94, 261.63, 293.66, 329.63, 392.0, 440.0)


class Unreadable(Exception):
    """The file is not what its asset type says."""


class MissingMediaLibraries(Exception):
    """PyAV or Pillow is not installed."""


@dataclass(frozen=True)
class Facts:
    """What is known about a media file; what does not apply is 0."""

    width: int = 0
    height: int = 0
    duration_ms: int = 0


def require_libraries() -> None:
    """Import PyAV and Pillow.

    :raises MissingMediaLibraries: with a message that says how to get them.
    """
    try:
        import av  # noqa: F401
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingMediaLibraries(
            "The sandbox makes real videos with PyAV and Pillow, and "
            f"{error.name or 'one of them'} is not installed. Install airflow-provider-hedra[sandbox], "
            "or start with --no-media for placeholder files."
        ) from error


# Measuring


def measure(path: Path, asset_type: str) -> Facts:
    """Read size and duration of an uploaded file.

    :param path: the file.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :return: width and height as displayed (EXIF orientation applied), duration in milliseconds.
    :raises Unreadable: when the file is no such medium.
    """
    if asset_type == "image":
        image = open_image(path)
        return Facts(width=image.width, height=image.height)
    return _measure_stream(path, asset_type)


def guess(path: Path, asset_type: str) -> Facts:
    """Estimate the facts of a file without media libraries: exact for WAV and PNG, a guess for everything
    else.

    :param path: the file.
    :param asset_type: ``image``, ``audio`` or ``video``.
    """
    if asset_type == "image":
        head = path.open("rb").read(24)
        if head[:8] == b"\x89PNG\r\n\x1a\n":
            return Facts(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"))
        return Facts(1024, 1024)
    try:
        with wave.open(str(path)) as sound:
            return Facts(duration_ms=round(sound.getnframes() * 1000 / sound.getframerate()))
    except (wave.Error, EOFError):
        # 128 kbit/s, the commonest MP3.
        milliseconds = max(1000, path.stat().st_size // 16)
        return Facts(1280, 720, milliseconds) if asset_type == "video" else Facts(duration_ms=milliseconds)


def open_image(path: Path) -> Image.Image:
    """Open a picture upright (EXIF orientation applied) in RGB.

    :raises Unreadable: when Pillow cannot decode it, or it is a decompression bomb.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Unreadable(f"The file is not a readable image: {error}") from error


def _measure_stream(path: Path, asset_type: str) -> Facts:
    import av

    try:
        with av.open(str(path)) as container:
            streams = container.streams.video if asset_type == "video" else container.streams.audio
            if not streams:
                raise Unreadable(f"The file has no {asset_type} stream.")
            stream = streams[0]
            # Packets, not the header: an MP3 without a Xing header only has an estimate there.
            end: Fraction | int = 0
            checked = False
            for packet in container.demux(stream):
                if not checked:
                    checked = bool(packet.decode())
                if packet.pts is not None and packet.time_base is not None:
                    start = stream.start_time or 0
                    end = max(end, (packet.pts - start + (packet.duration or 0)) * packet.time_base)
            if not checked or end <= 0:
                raise Unreadable(f"The file holds no {asset_type} that can be decoded.")
            context = stream.codec_context
            size = (context.width, context.height) if isinstance(context, av.VideoCodecContext) else (0, 0)
            return Facts(*size, round(end * 1000))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(f"The file is not readable {asset_type}: {error}") from error


# Speech


def speech_duration_ms(text: str, speed: float = 1.0) -> int:
    """How long a text takes to say.

    :param text: the text.
    :param speed: 0.7 to 1.2.
    :return: milliseconds, at least 500.
    """
    return max(500, round(len(text) * 1000 / (CHARACTERS_PER_SECOND * speed)))


def synthesise_speech(path: Path, text: str, duration_ms: int) -> None:
    """Write a WAV file (16 bit, mono) that hums a text: one soft note per syllable-sized piece, silence for
    spaces.

    :param path: where to write.
    :param text: decides the melody, so the same text always sounds the same.
    :param duration_ms: length of the file.
    """
    piece = SPEECH_RATE // 8
    notes = [_note(hertz, piece) for hertz in _NOTES_HZ]
    silence = bytes(2 * piece)
    left = SPEECH_RATE * duration_ms // 1000
    step = max(1, round(len(text) * piece / max(1, left)))
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SPEECH_RATE)
        position = 0
        while left > 0:
            letters = text[position : position + step]
            chunk = notes[sum(map(ord, letters)) % len(notes)] if letters.strip() else silence
            taken = min(left, piece)
            sound.writeframes(chunk[: 2 * taken])
            left -= taken
            position += step


def _note(hertz: float, samples: int) -> bytes:
    def sample(index: int) -> int:
        swell = math.sin(math.pi * index / samples)
        return round(9000 * swell * math.sin(2 * math.pi * hertz * index / SPEECH_RATE))

    return array("h", map(sample, range(samples))).tobytes()
