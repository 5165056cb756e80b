"""Measures an uploaded file: by decoding it, or as well as a sandbox without media can."""

from __future__ import annotations

import wave
from typing import TYPE_CHECKING

from hedra_provider.sandbox import picture, sound
from hedra_provider.sandbox.media import Facts, Unreadable, reason

if TYPE_CHECKING:
    import threading
    from fractions import Fraction
    from pathlib import Path


def measure(path: Path, asset_type: str, stop: threading.Event | None = None) -> Facts:
    """Decode an uploaded file and measure it.

    :param path: the file.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param stop: ends the measurement when set; default None, which never ends it.
    :return: displayed width and height in pixels (EXIF orientation applied), duration in milliseconds.
    :raises Unreadable: if the file is not such a medium.
    :raises hedra_provider.sandbox.sound.Stopped: when ``stop`` was set.
    """
    if asset_type == "image":
        image = picture.open_picture(path)
        return Facts(width=image.width, height=image.height)
    if asset_type == "audio":
        return Facts(duration_ms=sound.duration_ms(path, stop))
    return _measure_video(path, stop)


def measure_quickly(path: Path, asset_type: str, stop: threading.Event | None = None) -> Facts:
    """Measure a file for a sandbox without media: nothing is rejected, and PyAV and Pillow are not required.

    WAV and PNG are measured by their headers. Other files are decoded if the libraries are installed. For
    what is left, the length is that of an MP3 of 128 kbit/s, and the size 1024 x 1024 or 1280 x 720.

    :param path: the file.
    :param asset_type: ``image``, ``audio`` or ``video``.
    :param stop: ends the measurement when set; default None, which never ends it.
    :raises hedra_provider.sandbox.sound.Stopped: when ``stop`` was set.
    """
    if asset_type == "audio" and (milliseconds := _wav_ms(path)):
        return Facts(duration_ms=milliseconds)
    if asset_type == "image" and (size := _png_size(path)):
        return Facts(*size)
    try:
        return measure(path, asset_type, stop)
    except (ImportError, Unreadable):
        milliseconds = max(1000, path.stat().st_size // 16)
        return {
            "image": Facts(1024, 1024),
            "audio": Facts(duration_ms=milliseconds),
            "video": Facts(1280, 720, milliseconds),
        }[asset_type]


def _png_size(path: Path) -> tuple[int, int] | None:
    with path.open("rb") as file:
        head = file.read(24)
    if head[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def _wav_ms(path: Path) -> int:
    """Length of a WAV file by its header, but never more than the file holds; 0 for other files."""
    try:
        with wave.open(str(path)) as file:
            held = path.stat().st_size // (file.getnchannels() * file.getsampwidth())
            samples: int = min(file.getnframes() or held, held)
            return int(samples * 1000 / file.getframerate() + 0.5)
    except (wave.Error, EOFError, ZeroDivisionError, RuntimeError):
        # RuntimeError: a chunk ends beyond the file, as the module's reader sees it.
        return 0


def _measure_video(path: Path, stop: threading.Event | None) -> Facts:
    """Measure a video by its packets; only the first ones are decoded, as pictures take long."""
    import av

    try:
        with av.open(str(path), options=sound.CONTAINERS) as container:
            if not container.streams.video:
                raise Unreadable("The file has no video stream.")
            stream = container.streams.video[0]
            end: Fraction | int = 0
            decoded = False
            for packet in container.demux(stream):
                if stop is not None and stop.is_set():
                    raise sound.Stopped
                decoded = decoded or bool(packet.decode())
                if packet.pts is not None and packet.time_base is not None:
                    start = stream.start_time or 0
                    end = max(end, (packet.pts - start + (packet.duration or 0)) * packet.time_base)
            if not decoded or end <= 0:
                raise Unreadable("The file holds no video that can be decoded.")
            return Facts(stream.codec_context.width, stream.codec_context.height, round(end * 1000))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(f"The file is not readable video: {reason(error)}") from None
