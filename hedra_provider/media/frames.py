"""Streams of frames without a container: MP3 (and MP1, MP2), AAC in ADTS, AMR.

Each frame header gives the length of its frame, and all frames are counted. So files that were joined byte by
byte are measured whole, and the number in a Xing, Info or VBRI header does not matter.
"""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hedra_provider.media.played import Played
from hedra_provider.media.reader import MAX_JUNK_BYTES, NotMeasurableError, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_UNREAD_BYTES = 64 * 1024
"""Bytes, other than zeros, that may be neither frames nor tags. With more, a decoder may play what is not
counted here, so the length is not known."""

_WINDOW_BYTES = 4096
_ID3_BYTES = 10
_ID3V1_BYTES = 128
_APE_BYTES = 32

_RATES = (44_100, 48_000, 32_000)
_KBITS = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_ADTS_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)


@dataclass(frozen=True)
class Frame:
    """
    The header of a frame.

    :param length: Bytes from this header to the next; 0 for MP3's free format, which does not state it.
    :param samples: Samples of each channel.
    :param rate: Samples a second.
    :param stream: What all frames of one stream share.
    """

    length: int
    samples: int
    rate: int
    stream: int


def mpeg_audio(reader: Reader) -> Played | None:
    """Measure an MP3, MP2 or MP1."""
    walk = _Walk(reader, 4, lambda head: mpeg_frame(int.from_bytes(head)))
    first = walk.run()
    if first is None:
        return None
    reader.at = walk.first_at
    seconds, frame_seconds = walk.seconds, Fraction(first.samples, first.rate)
    info = _info_frame(reader.peek(first.length))
    if info:
        # It holds no sound, yet a decoder that does not know it plays it.
        seconds -= frame_seconds
        if not walk.skipped:
            # FFmpeg cuts off what the encoder added where nothing but tags comes before.
            is_whole = seconds == info.frames * frame_seconds
            seconds -= Fraction(info.delay + (info.padding if is_whole else 0), first.rate)
    return Played(max(seconds, frame_seconds), walk.seconds + walk.doubtful_seconds)


def adts(reader: Reader) -> Played | None:
    """Measure AAC in ADTS frames."""
    walk = _Walk(reader, 7, _adts_frame)
    return Played(walk.seconds, walk.seconds + walk.doubtful_seconds) if walk.run() else None


def amr(reader: Reader) -> Played | None:
    """Measure AMR, narrow or wide band: frames of 20 ms."""
    narrow, wide = b"#!AMR\n", b"#!AMR-WB\n"
    head = reader.peek(len(wide))
    if head.startswith(narrow):
        sizes, reader.at = (13, 14, 16, 18, 20, 21, 27, 32, 6, *(1,) * 7), len(narrow)
    elif head == wide:
        sizes, reader.at = (18, 24, 33, 37, 41, 47, 51, 59, 61, 6, *(1,) * 6), len(wide)
    else:
        return None
    frames = 0
    while reader.left:
        frames += 1
        reader.at += sizes[reader.peek(1)[0] >> 3 & 15]
    return Played(Fraction(frames, 50), Fraction(frames, 50))


@functools.lru_cache(maxsize=4096)
def mpeg_frame(header: int) -> Frame | None:
    """
    Read the header of a frame of MPEG audio.

    :param header: Its four bytes.
    :return: None where that is no such header.
    """
    version, layer_bits = header >> 19 & 3, header >> 17 & 3
    rate_index, kbit_index = header >> 10 & 3, header >> 12 & 15
    if header >> 21 != 0x7FF or version == 1 or layer_bits == 0 or rate_index == 3 or kbit_index == 15:
        return None
    layer, mpeg1 = 4 - layer_bits, version == 3
    # MPEG-2 halves the rates of MPEG-1, MPEG-2.5 halves them again.
    rate = _RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits, padding = _KBITS[mpeg1, layer][kbit_index] * 1000, header >> 9 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if mpeg1 else 576}[layer]
    unit = 4 if layer == 1 else 1
    length = (samples // (8 * unit) * bits // rate + padding) * unit if bits else 0
    return Frame(length, samples, rate, header & 0xFFFE0C00)


def _adts_frame(head: bytes) -> Frame | None:
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate_index = head[2] >> 2 & 15
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate_index >= len(_ADTS_RATES) or length < 7:
        return None
    return Frame(length, 1024 * ((head[6] & 3) + 1), _ADTS_RATES[rate_index], rate_index)


def skip_id3(reader: Reader) -> bool:
    """Go behind an ID3v2 tag; return whether there is one."""
    tag = reader.peek(_ID3_BYTES)
    if len(tag) < _ID3_BYTES or tag[:3] != b"ID3" or any(byte & 0x80 for byte in tag[6:]):
        return False
    size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
    footer = _ID3_BYTES if tag[5] & 0x10 else 0
    reader.at += _ID3_BYTES + size + footer
    return True


class _Walk:
    """Counts the frames of a stream, over tags and over what is not a frame."""

    def __init__(self, reader: Reader, head_bytes: int, parse: Callable[[bytes], Frame | None]) -> None:
        self._reader = reader
        self._head_bytes = head_bytes
        self._parse = parse
        self._samples: Counter[int] = Counter()
        self._doubtful: Counter[int] = Counter()
        self._is_mpeg = parse is not _adts_frame
        self._gap = False
        self._unread = 0
        self.skipped = 0
        self.first_at = 0

    @property
    def seconds(self) -> Fraction:
        """What the frames play."""
        return sum((Fraction(samples, rate) for rate, samples in self._samples.items()), Fraction(0))

    @property
    def doubtful_seconds(self) -> Fraction:
        """What a decoder plays besides if it takes each header for a frame, also those no frame follows."""
        return sum((Fraction(samples, rate) for rate, samples in self._doubtful.items()), Fraction(0))

    def run(self) -> Frame | None:
        """
        Go to the end.

        :return: The first frame, None without any.
        :raises NotMeasurableError: If there may be sound that is not counted.
        """
        reader, parse, head_bytes = self._reader, self._parse, self._head_bytes
        first: Frame | None = None
        stream: int | None = None
        while reader.left >= head_bytes:
            frame = parse(reader.peek(head_bytes))
            in_step = frame and frame.stream == stream and not self._gap
            if frame and (in_step or self._followed(frame, 1 if first else 2)):
                if not frame.length:
                    raise NotMeasurableError("MP3 in free format does not say how long its frames are")
                if first is None:
                    first, self.first_at = frame, reader.at
                self._count(frame, before=stream)
                stream, self._gap = frame.stream, False
                reader.at += frame.length
            elif self._skip_tag():
                self._gap = True
            else:
                if frame and first:
                    self._doubtful[frame.rate] += frame.samples
                self._skip_unread()
        return first

    def _count(self, frame: Frame, before: int | None) -> None:
        """
        Count a frame as FFmpeg plays it.

        :param before: The stream of the frame before, None for the first frame.
        """
        if self._is_mpeg and before == frame.stream and self._gap:
            # Behind a tag or junk between two frames FFmpeg drops the first; other decoders play it.
            self._doubtful[frame.rate] += frame.samples
            return
        self._samples[frame.rate] += frame.samples
        if self._is_mpeg and before not in (None, frame.stream) and not self._gap:
            # Where the rate changes FFmpeg plays up to a frame more than there is.
            self._samples[frame.rate] += frame.samples

    def _followed(self, frame: Frame, count: int) -> bool:
        """Return whether so many frames of the same stream follow, or the end or a tag comes before."""
        reader = self._reader
        here = reader.at
        try:
            for _ in range(count):
                if not frame.length:
                    # Free format does not state where the next frame begins. Behind junk it may be junk too.
                    return not self.skipped
                reader.at += frame.length
                if reader.left < self._head_bytes:
                    return reader.left == 0 or self._is_zero(reader.peek(reader.left))
                if self._skip_tag():
                    return True
                after = self._parse(reader.peek(self._head_bytes))
                if after is None or after.stream != frame.stream:
                    return False
                frame = after
            return True
        finally:
            reader.at = here

    @staticmethod
    def _is_zero(rest: bytes) -> bool:
        return not rest.strip(b"\0")

    def _skip_tag(self) -> bool:
        """Go behind a tag (ID3v2, ID3v1, APE); return whether there is one."""
        reader = self._reader
        if skip_id3(reader):
            return True
        tag = reader.peek(_APE_BYTES)
        if tag[:3] == b"TAG" and reader.left >= _ID3V1_BYTES:
            reader.at += _ID3V1_BYTES
            return True
        if tag[:8] == b"APETAGEX" and len(tag) == _APE_BYTES:
            is_header = tag[23] & 0x20
            reader.at += _APE_BYTES + (int.from_bytes(tag[12:16], "little") if is_header else 0)
            return True
        return False

    def _skip_unread(self) -> None:
        """Go to the next position of a possible frame or tag."""
        reader = self._reader
        block = reader.peek(_WINDOW_BYTES)
        # 0xFF begins a frame; I, T and A begin tags, which rarely occur in the bytes of sound.
        places = [at for sign in (b"\xff", b"ID3", b"TAG", b"APETAGEX") if (at := block.find(sign, 1)) > 0]
        # The window may cut a tag.
        rest = len(block) - 7 if len(block) == _WINDOW_BYTES else len(block)
        skipped = block[: min(places, default=rest)]
        reader.at += len(skipped)
        self.skipped += len(skipped)
        unread = len(skipped) - skipped.count(0)
        self._unread += unread
        self._gap = self._gap or unread > 0
        if self._unread > MAX_UNREAD_BYTES or self.skipped > MAX_JUNK_BYTES:
            raise NotMeasurableError("too much that is neither frame nor tag")


@dataclass(frozen=True)
class _Info:
    """
    The frame of metadata that LAME and FFmpeg write before the sound.

    :param frames: How many frames follow, as the frame states.
    :param delay: Samples that the encoder added at the start.
    :param padding: Samples that it added at the end.
    """

    frames: int
    delay: int = 0
    padding: int = 0


def _info_frame(frame: bytes) -> _Info | None:
    """Read the first frame of an MP3, None where it is not an Xing, Info or VBRI frame."""
    mpeg1, mono = frame[1] & 8, frame[3] >> 6 == 3
    at = 4 + ((17 if mono else 32) if mpeg1 else (9 if mono else 17))
    if frame[36:40] == b"VBRI":
        return _Info(0)
    if frame[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(frame[at + 4 : at + 8])
    count = int.from_bytes(frame[at + 8 : at + 12]) if flags & 1 else 0
    # Frames, bytes, table of contents, quality: there is what the flags name.
    at += 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    if frame[at : at + 4] not in (b"LAME", b"Lavf", b"Lavc") or len(frame) < at + 24:
        return _Info(count)
    delays = int.from_bytes(frame[at + 21 : at + 24])
    return _Info(count, delays >> 12, delays & 0xFFF)
