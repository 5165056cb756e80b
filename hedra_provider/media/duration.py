"""How long an audio or a video plays, by counting what a decoder decodes.

Two numbers are found: what a decoder plays, and the most that Hedra may bill. They differ by what an encoder
adds at the start and the end (some 25 to 100 ms), which some decoders cut off and others play.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.media.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.media.played import Played


@dataclass(frozen=True)
class Duration:
    """
    How long a file plays.

    :param played_ms: What a decoder plays, in milliseconds, rounded up: as ``ffmpeg -i FILE -f s16le`` does,
        within 0.1 s.
    :param at_most_ms: The same with all that encoders add, in milliseconds, rounded up.
    """

    played_ms: int
    at_most_ms: int


def measure_duration(file: BinaryIO, size: int, mime: str) -> Duration | None:
    """
    Measure how long an audio or a video plays.

    :param file: Readable and seekable; left at its start.
    :param size: Its length in bytes.
    :param mime: Its type, from :func:`hedra_provider.media.media_type.detect_media_type`. For ``audio/*``
        the sound is measured, for ``video/*`` the track that plays longest.
    :return: The length; None if it can't be measured: the format is unknown, the file is cut, or it holds
        something that can't be counted. The function never raises: Hedra may accept such a file.
    """
    try:
        walk = _walk_for(mime)
        found = walk(file, size, mime.startswith("video/")) if walk else None
    except Exception:  # noqa: BLE001  Hedra may accept a file that is broken here
        return None
    finally:
        file.seek(0)
    if found is None or found.seconds <= 0:
        return None
    played, at_most = math.ceil(found.seconds * 1000), math.ceil(max(found.seconds, found.at_most) * 1000)
    return Duration(played, at_most)


def _walk_for(mime: str) -> Callable[[BinaryIO, int, bool], Played | None] | None:
    # Loaded here: most tasks measure files of one or two formats, many measure none.
    from hedra_provider.media import chunks, flac, frames, matroska, mp4, ogg

    walk: Callable[[Reader], Played | None] | None = {
        "mpeg": frames.mpeg_audio,
        "aac": frames.adts,
        "amr": frames.amr,
        "flac": flac.flac,
        "wav": chunks.wav,
        "aiff": chunks.aiff,
        "basic": chunks.au,
        "x-caf": chunks.caf,
        "ogg": ogg.ogg,
    }.get(mime.removeprefix("audio/"))
    if walk is not None:
        return lambda file, size, _: walk(Reader(file, size))
    return {
        "mp4": _either(mp4.mp4),
        "quicktime": _either(mp4.mp4),
        "3gpp": _either(mp4.mp4),
        "webm": _either(matroska.matroska),
        "x-matroska": _either(matroska.matroska),
    }.get(mime.partition("/")[2])


def _either(walk: Callable[[Reader, bool], Played | None]) -> Callable[[BinaryIO, int, bool], Played | None]:
    """Return a walk over a container that holds sound, pictures or both."""
    return lambda file, size, is_video: walk(Reader(file, size), is_video)
