"""Decodes audio. The measured length and the sound track of a video come from the same decoder.

A decoder is the only honest measure: headers are estimates (MP3 without a Xing header), count only the first
part (MP3 files joined byte by byte), or are empty (a WAV that was written to a pipe). Like ``ffmpeg``, this
module skips packets that cannot be decoded, and plays the rest.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from hedra_provider.sandbox.media import Unreadable, reason

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from av import AudioFrame, AudioResampler, Packet
    from av.audio.stream import AudioStream
    from av.container import InputContainer

AUDIO_RATE = 44_100
"""Sample rate of decoded sound, in Hz; it is mono with 16 bits, as speech is."""

BYTES_PER_SAMPLE = 2

MAX_SECONDS = 6 * 3600
"""Longest audio that the sandbox decodes, in seconds: the longest video is 600 s. A few kilobytes can hold
days of silence, and decoding those would occupy a thread for as long."""

CONTAINERS = {
    "format_whitelist": "aac,ac3,aiff,amr,asf,au,avi,caf,flac,matroska,webm,mov,mp4,mp3,ogg,w64,wav,wv",
    "protocol_whitelist": "file",
}
"""What FFmpeg may open. Without the list it would also open playlists, which name other files and URLs."""


class Stopped(Exception):
    """The sandbox stops; nobody needs the result."""


def duration_ms(path: Path, stop: threading.Event | None = None) -> int:
    """Measure how long a decoder plays an audio file.

    :param path: the file.
    :param stop: ends the measurement when set; default None, which never ends it.
    :return: decoded samples divided by their rate, in milliseconds.
    :raises Unreadable: if nothing can be decoded, or if the audio is longer than :data:`MAX_SECONDS`.
    :raises Stopped: when ``stop`` was set.
    """
    seconds = Fraction(0)
    kinds = set()
    for frame in _frames(path, stop):
        if (kind := _kind(frame)) not in kinds:
            kinds.add(kind)
            _require_convertible(frame)
        seconds += Fraction(frame.samples, frame.sample_rate)
        if seconds > MAX_SECONDS:
            raise Unreadable(f"The audio is longer than {MAX_SECONDS} seconds, which no model takes.")
    if not seconds:
        raise Unreadable("The file holds no audio that can be decoded.")
    return round(seconds * 1000)


def pcm(path: Path, stop: threading.Event | None = None) -> Iterator[bytes]:
    """Decode an audio file to 16-bit mono samples at :data:`AUDIO_RATE`.

    :param path: the file.
    :param stop: ends the decoding when set; default None, which never ends it.
    :raises Unreadable: if the file cannot be opened.
    :raises Stopped: when ``stop`` was set.
    """
    resampler: AudioResampler | None = None
    kind = None
    for frame in _frames(path, stop):
        # Files that were joined may change their format in the middle; a resampler takes one format.
        if resampler is None or _kind(frame) != kind:
            yield from _bytes(resampler, None)
            resampler, kind = _resampler(), _kind(frame)
        yield from _bytes(resampler, frame)
    yield from _bytes(resampler, None)


def _frames(path: Path, stop: threading.Event | None) -> Iterator[AudioFrame]:
    """Yield what can be decoded of the first audio stream."""
    import av

    try:
        container = av.open(str(path), options=CONTAINERS)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Unreadable(f"The file is not readable audio: {reason(error)}") from None
    with container:
        if not container.streams.audio:
            raise Unreadable("The file has no audio stream.")
        stream = container.streams.audio[0]
        for packet in _packets(container, stream):
            if stop is not None and stop.is_set():
                raise Stopped
            try:
                frames = stream.codec_context.decode(packet)
            except (av.FFmpegError, ValueError):
                continue
            yield from (frame for frame in frames if frame.sample_rate)


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[Packet[AudioStream] | None]:
    """Yield packets, then None to flush the decoder. A damaged file ends where ffmpeg would end it."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            packet = None
        # PyAV ends with an empty packet, which flushes like None does.
        if packet is None or not packet.size:
            yield None
            return
        yield packet


def _kind(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _resampler() -> AudioResampler:
    import av

    return av.AudioResampler(format="s16", layout="mono", rate=AUDIO_RATE)


def _require_convertible(frame: AudioFrame) -> None:
    """Reject a format that cannot become a sound track: at the upload, before a generation is charged."""
    import av

    try:
        list(_bytes(_resampler(), frame))
    except (av.FFmpegError, ValueError) as error:
        layout = frame.layout.name
        raise Unreadable(f"The audio's channel layout ({layout}) is not supported: {reason(error)}") from None


def _bytes(resampler: AudioResampler | None, frame: AudioFrame | None) -> Iterator[bytes]:
    """Convert a frame; None flushes the resampler."""
    if resampler is None:
        return
    if frame is not None:
        # Time stamps do not count: the sound track is what the decoder plays, without gaps.
        frame.pts = None
    for piece in resampler.resample(frame):
        yield bytes(piece.planes[0])[: piece.samples * BYTES_PER_SAMPLE]
