"""Makes the finished avatar video: the portrait, the audio, and the word SANDBOX.

A real MP4 (H.264 and AAC, ``yuv420p``, index at the front). SANDBOX is written on it, so that nobody mistakes
it for a video of Hedra's. A small meter follows the loudness: it shows that picture and sound belong
together. Everything streams, so ten minutes need no more memory than ten seconds.
"""

from __future__ import annotations

from array import array
from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

from hedra_provider.sandbox.picture import open_picture
from hedra_provider.sandbox.sound import AUDIO_RATE, BYTES_PER_SAMPLE, Stopped, pcm

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from av import AudioFrame, VideoFrame
    from PIL import Image

FRAMES_PER_SECOND = 10
"""A still portrait needs no more: ten minutes are 6,000 frames."""

_METER_STEPS = 8
_FRAME_SAMPLES = AUDIO_RATE // FRAMES_PER_SECOND


def render_video(
    path: Path,
    *,
    image: Path | None,
    audio: Path | None,
    width: int,
    height: int,
    duration_ms: int,
    audio_start_ms: int = 0,
    stop: threading.Event | None = None,
) -> None:
    """Make a talking-head video.

    :param path: where to write the MP4; it appears there only when it is whole.
    :param image: portrait, cropped to cover the frame; None gives a plain backdrop.
    :param audio: speech; None gives silence.
    :param width: in pixels, even.
    :param height: in pixels, even.
    :param duration_ms: length of the video in milliseconds; the audio is trimmed, or padded with silence.
    :param audio_start_ms: milliseconds; positive skips the beginning of the audio, negative puts silence
        before it; default 0.
    :param stop: ends the work when set; default None, which never ends it.
    :raises Stopped: when ``stop`` was set.
    :raises hedra_provider.sandbox.media.Unreadable: if the portrait or the audio cannot be decoded.
    """
    import av

    partial = path.with_name(path.name + ".partial")
    try:
        with (
            closing(PcmStream(iter(()) if audio is None else pcm(audio, stop), audio_start_ms)) as sound,
            av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container,
        ):
            picture_stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
            picture_stream.width, picture_stream.height, picture_stream.pix_fmt = width, height, "yuv420p"
            picture_stream.options = {"preset": "ultrafast", "tune": "stillimage", "crf": "24", "g": "100"}
            sound_stream = container.add_stream("aac", rate=AUDIO_RATE)
            sound_stream.layout, sound_stream.bit_rate = "mono", 64_000
            sound_stream.options = {"aac_coder": "fast"}

            pictures = [_video_frame(picture) for picture in draw(image, width, height)]
            samples = AUDIO_RATE * duration_ms // 1000
            # Rounded, so that the picture ends within half a frame (50 ms) of the sound.
            frames = max(1, round(duration_ms * FRAMES_PER_SECOND / 1000))
            done = index = 0
            while index < frames or done < samples:
                if stop is not None and stop.is_set():
                    raise Stopped
                wanted = min(_FRAME_SAMPLES, samples - done)
                chunk = _take(sound, wanted)
                if index < frames:
                    frame = pictures[_loudness(chunk)]
                    frame.pts, frame.time_base = index, Fraction(1, FRAMES_PER_SECOND)
                    container.mux(picture_stream.encode(frame))
                if wanted:
                    container.mux(sound_stream.encode(_audio_frame(chunk, done)))
                done += wanted
                index += 1
            container.mux(picture_stream.encode(None))
            container.mux(sound_stream.encode(None))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def draw(image: Path | None, width: int, height: int) -> list[Image.Image]:
    """Draw the frames of a video: the portrait with the mark and each state of the meter, from silent to
    loud.

    :param image: portrait, cropped to cover the frame; None gives a plain backdrop.
    :param width: in pixels.
    :param height: in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont, ImageOps

    if image is None:
        base = Image.new("RGB", (width, height), (64, 72, 84))
    else:
        # The face of a portrait is above the middle: crop more from below.
        base = ImageOps.fit(
            open_picture(image), (width, height), Image.Resampling.LANCZOS, centering=(0.5, 0.4)
        )
    unit = min(width, height) / 100
    font = ImageFont.load_default(round(6 * unit))
    label = "SANDBOX"
    pen = ImageDraw.Draw(base, "RGBA")
    _, _, label_width, label_height = pen.textbbox((0, 0), label, font=font)
    left, top = round(4 * unit), round(4 * unit)
    box = (left, top, round(left + label_width + 4 * unit), round(top + label_height + 5 * unit))
    pen.rounded_rectangle(box, radius=round(1.5 * unit), fill=(0, 0, 0, 150))
    pen.text((left + 2 * unit, top + 1.5 * unit), label, font=font, fill=(255, 255, 255, 235))
    frames = []
    for step in range(_METER_STEPS):
        frame = base.copy()
        if step:
            length = label_width * step / (_METER_STEPS - 1)
            y = box[3] - 2 * unit
            meter = (left + 2 * unit, y, left + 2 * unit + length, y + unit)
            ImageDraw.Draw(frame, "RGBA").rectangle(meter, fill=(64, 200, 160, 255))
        frames.append(frame)
    return frames


def _video_frame(picture: Image.Image) -> VideoFrame:
    import av

    frame: VideoFrame = av.VideoFrame.from_image(picture)  # type: ignore[no-untyped-call]
    return frame.reformat(format="yuv420p")


def _audio_frame(samples: bytes, position: int) -> AudioFrame:
    import av

    frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // BYTES_PER_SAMPLE)
    frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
    frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, position, Fraction(1, AUDIO_RATE)
    return frame


def _loudness(samples: bytes) -> int:
    # Every 16th sample is enough for a meter.
    peak = max(map(abs, array("h", samples)[::16]), default=0)
    return min(_METER_STEPS - 1, peak * _METER_STEPS // 20_000)


def _take(sound: PcmStream, samples: int) -> bytes:
    wanted = samples * BYTES_PER_SAMPLE
    return sound.read(wanted).ljust(wanted, b"\0")


class PcmStream:
    """Decoded audio as a file object of 16-bit mono samples.

    :param chunks: the samples.
    :param start_ms: milliseconds; positive skips the beginning, negative puts silence before it.
    """

    def __init__(self, chunks: Iterator[bytes], start_ms: int) -> None:
        offset = AUDIO_RATE * abs(start_ms) // 1000 * BYTES_PER_SAMPLE
        self._chunks = chunks
        self._buffer = bytearray()
        self._silence = offset if start_ms < 0 else 0
        self._skip = offset if start_ms > 0 else 0

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        silence = bytes(min(size, self._silence))
        self._silence -= len(silence)
        size -= len(silence)
        while self._skip or len(self._buffer) < size:
            chunk = next(self._chunks, b"")
            if not chunk:
                break
            self._buffer += chunk[self._skip :]
            self._skip = max(0, self._skip - len(chunk))
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return silence + taken

    def close(self) -> None:
        """Close the file that is being decoded."""
        close = getattr(self._chunks, "close", None)
        if close:
            close()
