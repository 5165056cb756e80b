"""Formats whose samples stand in one chunk: WAV, AIFF, AU, CAF.

The bytes of samples that are in the file count, not the length that a header claims: encoders that write to a
pipe leave 0 or 0xFFFFFFFF there, and a file may be cut.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction

from hedra_provider.media import frames
from hedra_provider.media.played import Played
from hedra_provider.media.reader import NotMeasurableError, Reader

_PCM, _ADPCM_MS, _FLOAT, _A_LAW, _MU_LAW, _ADPCM_IMA = 1, 2, 3, 6, 7, 0x11
_GSM, _MPEG, _MP3, _EXTENSIBLE = 0x31, 0x50, 0x55, 0xFFFE

_AIFC_BITS = {b"raw ": 8, b"alaw": 8, b"ALAW": 8, b"ulaw": 8, b"ULAW": 8, b"in24": 24, b"in32": 32}
_AIFC_BITS |= {b"fl32": 32, b"FL32": 32, b"fl64": 64, b"FL64": 64}
_AU_BITS = {1: 8, 2: 8, 3: 16, 4: 24, 5: 32, 6: 32, 7: 64, 27: 8}
_IMA4_BYTES, _IMA4_SAMPLES = 34, 64


@dataclass(frozen=True)
class Coding:
    """
    How samples are written.

    :param rate: Samples of each channel a second.
    :param block: Bytes of the smallest unit, with all channels.
    :param samples: Samples of each channel in one unit.
    """

    rate: Fraction
    block: int
    samples: int = 1

    def seconds(self, size: int, *, partly: bool = False) -> Fraction:
        """
        Return how long so many bytes play.

        :param partly: Whether a unit that is cut counts as a whole one.
        """
        units = -(-size // self.block) if partly else size // self.block
        return units * self.samples / self.rate


def wav(reader: Reader) -> Played | None:
    """Measure a WAV, RF64 or BW64 file."""
    order = "big" if reader.peek(4) == b"RIFX" else "little"
    reader.at += 12
    head: bytes | None = None
    parts: list[tuple[int, int]] = []
    long_size = 0
    whole = True
    while reader.left >= 8:
        name, length = reader.read(4), int.from_bytes(reader.read(4), order)  # type: ignore[arg-type]
        if name == b"fmt ":
            head = reader.peek(min(length, 64))
        elif name == b"ds64":
            long_size = int.from_bytes(reader.peek(16)[8:16], "little")
        elif name == b"data":
            if length in (0, 0xFFFFFFFF) or length > reader.left:
                length = long_size if 0 < long_size <= reader.left else reader.left
            parts.append((reader.at, reader.at + length))
        elif not name.isascii() or not bytes(name).strip().isalnum() or name in (b"RIFF", b"RF64"):
            # No chunk: a header that claims too few bytes, with samples behind them.
            whole = False
            break
        reader.at += length + (length & 1)
    if head is None or not parts:
        return None
    if order == "big":
        return _timed(_wav_coding(head, ">"), reader, parts, whole=whole)
    tag = _wav_tag(head)
    if tag in (_MP3, _MPEG):
        return _joined_mp3(reader, parts)
    return _timed(_wav_coding(head, "<"), reader, parts, whole=whole)


def aiff(reader: Reader) -> Played | None:
    """Measure an AIFF or AIFF-C file."""
    form = reader.peek(12)[8:]
    reader.at += 12
    coding: Coding | None = None
    parts: list[tuple[int, int]] = []
    while reader.left >= 8:
        name, length = reader.read(4), int.from_bytes(reader.read(4))
        if name == b"COMM":
            coding = _aiff_coding(reader.peek(min(length, 22)), is_compressed=form == b"AIFC")
        elif name == b"SSND":
            if length in (0, 0xFFFFFFFF) or length > reader.left:
                length = reader.left
            skipped = 8 + int.from_bytes(reader.peek(4))
            if skipped <= length:
                parts.append((reader.at + skipped, reader.at + length))
        reader.at += length + (length & 1)
    return _timed(coding, reader, parts) if coding and parts else None


def au(reader: Reader) -> Played | None:
    """Measure a Sun or NeXT AU file; its sound ends with the file, whatever length the header states."""
    _, start, _, encoding, rate, channels = struct.unpack(">4s5I", reader.exactly(24))
    bits = _AU_BITS.get(encoding)
    if not bits or not rate or not channels:
        return None
    return _timed(Coding(Fraction(rate), bits * channels // 8), reader, [(max(start, 24), reader.end)])


def caf(reader: Reader) -> Played | None:
    """Measure a Core Audio Format file."""
    reader.at += 8
    rate, block, samples = 0.0, 0, 0
    packets = valid = 0
    parts: list[tuple[int, int]] = []
    while reader.left >= 12:
        name, length = struct.unpack(">4sq", reader.exactly(12))
        if length < 0 or (name == b"data" and length > reader.left):
            length = reader.left
        if name == b"desc":
            rate, _, _, block, samples, _, _ = struct.unpack(">d4s5I", reader.peek(32))
        elif name == b"pakt":
            packets, valid = struct.unpack(">qq", reader.peek(16))
        elif name == b"data":
            # The first four bytes count edits.
            parts.append((reader.at + 4, reader.at + length))
        reader.at += length
    if rate <= 0 or not samples or not parts:
        return None
    if block:
        return _timed(Coding(Fraction(rate), block, samples), reader, parts)
    if not 0 < packets <= reader.end:
        return None
    total = packets * samples
    # At both ends an encoder adds up to a few packets.
    played = valid if 0 <= total - valid <= 4 * samples else total
    return Played(played / Fraction(rate), total / Fraction(rate))


def _timed(
    coding: Coding | None, reader: Reader, parts: list[tuple[int, int]], *, whole: bool = True
) -> Played | None:
    if coding is None:
        return None
    # Decoders play what there is of a compressed block that is cut.
    partly = coding.samples > 1
    seconds = sum((coding.seconds(end - start, partly=partly) for start, end in parts), Fraction(0))
    to_the_end = coding.seconds(reader.end - parts[0][0], partly=True)
    return Played(seconds, seconds if whole else to_the_end)


def _wav_tag(head: bytes) -> int:
    tag = int.from_bytes(head[:2], "little")
    # The true tag begins the UUID of the extension.
    return int.from_bytes(head[24:26], "little") if tag == _EXTENSIBLE and len(head) >= 26 else tag


def _wav_coding(head: bytes, order: str) -> Coding | None:
    tag, channels, rate, _, block, bits = struct.unpack(f"{order}HHIIHH", head[:16])
    tag = _wav_tag(head) if order == "<" else tag
    if not rate or not channels:
        return None
    if tag in (_PCM, _FLOAT, _A_LAW, _MU_LAW):
        # Not the block that the header names: decoders go by the bits too.
        return Coding(Fraction(rate), channels * ((bits + 7) // 8)) if bits else None
    if tag == _ADPCM_IMA and block > 4 * channels:
        return Coding(Fraction(rate), block, (block - 4 * channels) * 2 // channels + 1)
    if tag == _ADPCM_MS and block > 7 * channels:
        return Coding(Fraction(rate), block, (block - 7 * channels) * 2 // channels + 2)
    if tag == _GSM:
        return Coding(Fraction(rate), 65, 320)
    return None


def _joined_mp3(reader: Reader, parts: list[tuple[int, int]]) -> Played | None:
    if len(parts) > 1:
        raise NotMeasurableError("several chunks of MP3")
    return frames.mpeg_audio(reader.part(*parts[0]))


def _aiff_coding(head: bytes, *, is_compressed: bool) -> Coding | None:
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", head[:18])
    # An 80-bit floating point number.
    rate = Fraction(mantissa) * Fraction(2) ** ((exponent & 0x7FFF) - 16_383 - 63)
    if channels < 1 or rate <= 0:
        return None
    kind = head[18:22] if is_compressed else b"NONE"
    if kind == b"ima4":
        return Coding(rate, _IMA4_BYTES * channels, _IMA4_SAMPLES)
    if kind not in (b"NONE", b"sowt", b"twos"):
        bits = _AIFC_BITS.get(kind, 0)
    return Coding(rate, channels * ((bits + 7) // 8)) if bits > 0 else None
