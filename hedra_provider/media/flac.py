"""FLAC: frames whose headers state their number of samples, but not of bytes.

The header of a frame is found by its first bytes, its checksum and its number, which goes up by one with each
frame. The total in the header of the file is not used: encoders that write to a pipe leave it at 0.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hedra_provider.media.frames import skip_id3
from hedra_provider.media.played import Played
from hedra_provider.media.reader import BLOCK_BYTES, MAX_JUNK_BYTES, NotMeasurableError, Reader

HEADER_BYTES = 16
"""The most bytes that the header of a frame has."""

_SYNC = re.compile(rb"\xff[\xf8\xf9]")


@dataclass(frozen=True)
class FlacFrame:
    """
    The header of a frame.

    :param samples: Samples of each channel.
    :param number: The number of its first sample, or of the frame where all have the same size.
    :param by_sample: Whether ``number`` counts samples.
    """

    samples: int
    number: int
    by_sample: bool

    @property
    def next_number(self) -> int:
        """The number of the frame that follows."""
        return self.number + (self.samples if self.by_sample else 1)


def flac(reader: Reader) -> Played | None:
    """Measure a FLAC file, also behind ID3 tags, also of files that were joined."""
    while skip_id3(reader):
        pass
    rate = _sample_rate(reader)
    samples = uncertain = skipped = last_at = 0
    expected: int | None = None
    after_uncertain = 0
    while reader.left:
        block = reader.peek(BLOCK_BYTES)
        is_last = len(block) < BLOCK_BYTES
        # A header that the block cuts is read with the next one.
        keep = 0 if is_last else HEADER_BYTES
        found = False
        for place in _SYNC.finditer(block, 0, len(block) - keep):
            frame = flac_frame(block[place.start() : place.start() + HEADER_BYTES])
            if frame is None:
                continue
            found = True
            if expected is None or frame.number in (expected, after_uncertain, 0):
                samples += frame.samples
                expected = frame.next_number
                last_at = reader.at + place.start()
            else:
                # Bytes that resemble a frame, or the first frame behind a gap.
                uncertain += frame.samples
                after_uncertain = frame.next_number
                if uncertain > rate * 60:
                    raise NotMeasurableError("frames of FLAC out of order")
        skipped = 0 if found else skipped + len(block)
        if skipped > MAX_JUNK_BYTES:
            raise NotMeasurableError("too much between two frames")
        reader.at += len(block) - keep
    if uncertain > rate // 10:
        raise NotMeasurableError("frames of FLAC out of order")
    reader.at = last_at
    if not _is_whole(reader.peek(reader.left)):
        raise NotMeasurableError("the file is cut")
    return Played(Fraction(samples, rate), Fraction(samples + uncertain, rate))


def flac_frame(head: bytes) -> FlacFrame | None:
    """
    Read the header of a frame.

    :param head: Its first 16 bytes.
    :return: None where that is no such header, by its fields and its checksum.
    """
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        return None
    size_code, rate_code, channels, depth = head[2] >> 4, head[2] & 15, head[3] >> 4, head[3] >> 1 & 7
    if not size_code or rate_code == 15 or channels > 10 or depth == 3 or head[3] & 1:
        return None
    # The number is written as UTF-8 writes characters, in up to seven bytes.
    lead = head[4]
    more = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1
    if 0x80 <= lead < 0xC0 or lead == 0xFF:
        return None
    number = lead if not more else lead & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    at = 5 + more
    if size_code in (6, 7):
        width = size_code - 5
        samples = int.from_bytes(head[at : at + width]) + 1
        at += width
    else:
        samples = 192 if size_code == 1 else 144 << size_code if size_code < 6 else 1 << size_code
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if len(head) <= at or _crc8(head[:at]) != head[at]:
        return None
    return FlacFrame(samples, number, bool(head[1] & 1))


def stream_rate(stream_info: bytes) -> int:
    """Return the samples a second that the 34 bytes of a STREAMINFO name."""
    return int.from_bytes(stream_info[10:13]) >> 4


def _sample_rate(reader: Reader) -> int:
    """Go behind the metadata; return the samples a second."""
    if reader.exactly(4) != b"fLaC":
        raise NotMeasurableError("no FLAC")
    rate = 0
    is_last = False
    while not is_last:
        block = reader.exactly(4)
        is_last, length = bool(block[0] & 0x80), int.from_bytes(block[1:])
        if block[0] & 0x7F == 0:
            rate = stream_rate(reader.peek(34))
        reader.at += length
    if not rate:
        raise NotMeasurableError("no sample rate")
    return rate


def _is_whole(last_frame: bytes) -> bool:
    """Return whether the last frame of a file ends with its checksum; an ID3v1 tag may follow."""
    if last_frame[-128:-125] == b"TAG":
        last_frame = last_frame[:-128]
    value = 0
    for byte in last_frame:
        value = value << 8 & 0xFFFF ^ _CRC16[value >> 8 ^ byte]
    return value == 0


def _crc16_of(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = value << 1 & 0xFFFF ^ (0x8005 if value & 0x8000 else 0)
    return value


_CRC16 = tuple(map(_crc16_of, range(256)))


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value << 1 & 0xFF ^ (7 if value & 0x80 else 0)
    return value
