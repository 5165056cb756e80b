"""MP4 and its kin (M4A, QuickTime, 3GP): the table of samples counts, or the fragments of a fragmented file.

The durations in the headers of movie, track and media are not used. Boxes are read as a flat list: what a
container box holds follows its head, so no box nests the reader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from hedra_provider.media.played import Played
from hedra_provider.media.reader import NotMeasurableError, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTAINERS = frozenset({b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl", b"mvex", b"moof", b"traf"})
_AAC_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000),
    *(22_050, 16_000, 12_000, 11_025, 8_000, 7_350),
)
_AAC_OBJECTS = frozenset({1, 2, 3, 4, 5, 29})
"""Kinds of AAC (Main, LC, SSR, LTP, HE, HE v2) whose packets hold 1024 samples of the core rate."""


@dataclass
class _Track:
    """What is known of a track; ``edits`` are (duration in the movie's scale, start in the track's scale)."""

    number: int = 0
    kind: bytes = b""
    scale: int = 0
    ticks: int = 0
    packets: int = 0
    listed_packets: int = 0
    default_ticks: int = 0
    aac_rate: int = 0
    edits: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class _Movie:
    scale: int = 0
    tracks: list[_Track] = field(default_factory=list)
    fragment: _Track | None = None
    fragment_ticks: int = 0


def mp4(reader: Reader, is_video: bool) -> Played | None:
    """
    Measure an MP4, M4A, QuickTime or 3GP file.

    :param is_video: Whether its pictures count too.
    """
    movie = _Movie()
    while reader.left >= 8:
        head = reader.peek(16)
        size, kind, head_bytes = int.from_bytes(head[:4]), head[4:8], 8
        if size == 1:
            size, head_bytes = int.from_bytes(head[8:16]), 16
        elif size == 0:
            size = reader.left
        if size < head_bytes:
            raise NotMeasurableError("a box that is shorter than its head")
        if size > reader.left:
            raise NotMeasurableError("the file is cut")
        box_end = reader.at + size
        reader.at += head_bytes
        if kind == b"trak":
            movie.tracks.append(_Track())
        if kind in _CONTAINERS:
            continue
        read = _READERS.get(kind)
        if read:
            # Of the sizes of the packets their number is enough.
            length = min(size - head_bytes, 64) if kind == b"stsz" else size - head_bytes
            read(movie, reader.exactly(length))
        reader.at = box_end
    kinds = (b"soun", b"vide") if is_video else (b"soun",)
    found = [_played(track, movie.scale) for track in movie.tracks if track.kind in kinds and track.scale]
    if not found:
        return None
    return Played(max(one.seconds for one in found), max(one.at_most for one in found))


def aac_rate(config: bytes) -> int:
    """
    Return the core rate of AAC with packets of 1024 samples, 0 for another kind.

    :param config: The ``AudioSpecificConfig``.
    """
    bits = int.from_bytes(config[:5].ljust(5, b"\0"))
    kind, index = bits >> 35, bits >> 31 & 15
    if kind not in _AAC_OBJECTS:
        return 0
    if index == 15:
        return bits >> 7 & 0xFFFFFF
    return _AAC_RATES[index] if index < len(_AAC_RATES) else 0


def _played(track: _Track, movie_scale: int) -> Played:
    media = Fraction(track.ticks, track.scale)
    if track.aac_rate:
        # A table that names too short packets does not make them shorter.
        packets = max(track.packets, track.listed_packets)
        media = max(media, Fraction(1024 * packets, track.aac_rate))
    empty = played = Fraction(0)
    for length, start in track.edits if movie_scale else ():
        seconds = Fraction(length, movie_scale)
        if start < 0:
            empty += seconds
        else:
            rest = max(Fraction(0), media - Fraction(start, track.scale))
            # In a fragmented file an edit of length 0 goes to the end. Decoders play a last packet whole.
            to_the_end = not seconds or rest - seconds < media / max(track.packets, 1)
            played += rest if to_the_end else seconds
    seconds = played or media
    return Played(seconds, max(seconds, media) + empty)


def _scale(box: bytes) -> int:
    return int.from_bytes(box[20:24] if box[0] else box[12:16])


def _mvhd(movie: _Movie, box: bytes) -> None:
    movie.scale = _scale(box)


def _trex(movie: _Movie, box: bytes) -> None:
    number, _, ticks = struct.unpack(">3I", box[4:16])
    for track in movie.tracks:
        if track.number == number:
            track.default_ticks = ticks


def _tkhd(movie: _Movie, box: bytes) -> None:
    movie.tracks[-1].number = int.from_bytes(box[20:24] if box[0] else box[12:16])


def _mdhd(movie: _Movie, box: bytes) -> None:
    movie.tracks[-1].scale = _scale(box)


def _hdlr(movie: _Movie, box: bytes) -> None:
    # QuickTime has a second one, for where the data is.
    if not movie.tracks[-1].kind:
        movie.tracks[-1].kind = box[8:12]


def _elst(movie: _Movie, box: bytes) -> None:
    layout = struct.Struct(">QqI" if box[0] else ">IiI")
    rest = box[8 : 8 + int.from_bytes(box[4:8]) * layout.size]
    whole = len(rest) - len(rest) % layout.size
    movie.tracks[-1].edits = [(length, start) for length, start, _ in layout.iter_unpack(rest[:whole])]


def _stts(movie: _Movie, box: bytes) -> None:
    track, whole = movie.tracks[-1], len(box) - len(box) % 8
    for count, ticks in struct.iter_unpack(">II", box[8:whole]):
        track.packets += count
        track.ticks += count * ticks


def _stsd(movie: _Movie, box: bytes) -> None:
    """Read the rate of AAC from the descriptors in the sample description."""
    at = box.find(b"esds")
    if box[12:16] != b"mp4a" or at < 0:
        return
    at += 8
    while at + 2 < len(box):
        tag = box[at]
        at += 1
        length = 0
        for _ in range(4):
            byte = box[at]
            at += 1
            length = length << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 3:
            at += 3
        elif tag == 4:
            at += 13
        elif tag == 5:
            movie.tracks[-1].aac_rate = aac_rate(box[at : at + length])
            return
        else:
            return


def _stsz(movie: _Movie, box: bytes) -> None:
    movie.tracks[-1].listed_packets = int.from_bytes(box[8:12])


def _tfhd(movie: _Movie, box: bytes) -> None:
    flags, number = int.from_bytes(box[1:4]), int.from_bytes(box[4:8])
    movie.fragment = next((track for track in movie.tracks if track.number == number), None)
    if movie.fragment is None:
        raise NotMeasurableError("a fragment of no track")
    at = 8 + (8 if flags & 1 else 0) + (4 if flags & 2 else 0)
    movie.fragment_ticks = int.from_bytes(box[at : at + 4]) if flags & 8 else movie.fragment.default_ticks


def _trun(movie: _Movie, box: bytes) -> None:
    track = movie.fragment
    if track is None:
        raise NotMeasurableError("samples of no track")
    flags, count = int.from_bytes(box[1:4]), int.from_bytes(box[4:8])
    track.packets += count
    if not flags & 0x100:
        track.ticks += count * movie.fragment_ticks
        return
    at = 8 + (4 if flags & 1 else 0) + (4 if flags & 4 else 0)
    step = 4 * (flags >> 8 & 15).bit_count()
    for place in range(at, min(at + count * step, len(box) - 3), step):
        track.ticks += int.from_bytes(box[place : place + 4])


_READERS: dict[bytes, Callable[[_Movie, bytes], None]] = {
    b"mvhd": _mvhd,
    b"trex": _trex,
    b"tkhd": _tkhd,
    b"mdhd": _mdhd,
    b"hdlr": _hdlr,
    b"elst": _elst,
    b"stts": _stts,
    b"stsd": _stsd,
    b"stsz": _stsz,
    b"tfhd": _tfhd,
    b"trun": _trun,
}
