"""WebM and Matroska: the packets of a track count, with or without a ``Duration`` in the file's header."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from hedra_provider.media.mp4 import aac_rate
from hedra_provider.media.packets import HEAD_BYTES, Codec, Fixed, Flac, Mpeg, Opus, Pcm, Vorbis
from hedra_provider.media.played import Played
from hedra_provider.media.reader import MAX_PEEK_BYTES, NotMeasurableError, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

_EBML, _SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x1A45DFA3, 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TIMESTAMP, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK, _DISCARD = 0xE7, 0xA3, 0xA0, 0xA1, 0x75A2
_TIMESTAMP_SCALE, _TRACK_ENTRY, _AUDIO, _ENCODINGS = 0x2AD7B1, 0xAE, 0xE1, 0x6D80
_NUMBER, _TYPE, _CODEC_ID, _CODEC_PRIVATE = 0xD7, 0x83, 0x86, 0x63A2
_SAMPLING_FREQUENCY, _CHANNELS, _BIT_DEPTH = 0xB5, 0x9F, 0x6264
_VIDEO_TRACK, _AUDIO_TRACK = 1, 2
_NANO = 1_000_000_000


@dataclass
class _Track:
    """
    What is known of a track.

    :param codec: Counts its sound; None for pictures.
    """

    codec: Codec | None
    samples: int = 0
    cut_samples: int = 0
    last_samples: int = 0
    discard_ns: int = 0
    first: int | None = None
    last: int = 0
    gap: int = 0

    def see(self, timestamp: int) -> None:
        """Note when a picture is shown."""
        if self.first is None:
            self.first = self.last = timestamp
        self.gap = max(self.gap, timestamp - self.last)
        self.first, self.last = min(self.first, timestamp), max(self.last, timestamp)


def matroska(reader: Reader, is_video: bool) -> Played | None:
    """
    Measure a WebM or Matroska file.

    :param is_video: Whether its pictures count too.
    """
    tracks: dict[int, _Track] = {}
    scale, cluster, headers = 1_000_000, 0, 0
    last: _Track | None = None
    while reader.left >= 2:
        element, size = _element(reader)
        if element == _EBML:
            headers += 1
        if element in (_SEGMENT, _CLUSTER, _BLOCK_GROUP):
            # What they hold is read next; where they end does not matter.
            continue
        if size is None:
            raise NotMeasurableError("an element of unknown size")
        end = reader.at + size
        if element == _INFO:
            scale = _number(dict(_children(reader.exactly(size))).get(_TIMESTAMP_SCALE)) or scale
        elif element == _TRACKS:
            tracks = dict(_tracks(reader.exactly(size)))
        elif element == _TIMESTAMP:
            cluster = _number(reader.exactly(size))
        elif element in (_SIMPLE_BLOCK, _BLOCK):
            last = _read_block(reader, tracks, cluster, end)
        elif element == _DISCARD and last:
            last.discard_ns = int.from_bytes(reader.exactly(size), signed=True)
        reader.at = end
    if headers > 1:
        raise NotMeasurableError("files that were joined")
    found = [_sound(track) for track in tracks.values() if track.codec and track.samples]
    if is_video:
        shown = [track for track in tracks.values() if track.first is not None]
        lengths = [(track.last - (track.first or 0) + track.gap) * scale for track in shown]
        found += [Played(Fraction(length, _NANO), Fraction(length, _NANO)) for length in lengths]
    if not found:
        return None
    return Played(max(one.seconds for one in found), max(one.at_most for one in found))


def _sound(track: _Track) -> Played:
    assert track.codec  # noqa: S101  asked of sound only
    rate = track.codec.rate
    at_most = Fraction(track.samples + track.cut_samples, rate)
    # Of Opus decoders cut off the start, of other codecs FFmpeg plays it.
    # At the end, decoders cut off the last block by the padding that the file states.
    discarded = min(Fraction(max(0, track.discard_ns), _NANO), Fraction(track.last_samples, rate))
    cut_off = Fraction(track.codec.delay, rate) + discarded
    return Played(max(Fraction(track.samples, rate) - cut_off, Fraction(0)), at_most)


def _read_block(reader: Reader, tracks: dict[int, _Track], cluster: int, end: int) -> _Track | None:
    """Count one block: a packet, or several that are laced together."""
    number, width = _vint(reader.peek(8))
    track = tracks.get(number)
    reader.at += width
    head = reader.peek(3)
    reader.at += 3
    if track is None or len(head) < 3:
        return track
    if track.codec is None:
        track.see(cluster + int.from_bytes(head[:2], signed=True))
        return track
    samples = 0
    for size in _laced(reader, head[2] >> 1 & 3, end):
        samples += track.codec.samples(reader.peek(min(size, HEAD_BYTES)), size)
        reader.at += size
    if end > reader.end:
        track.cut_samples += samples
    else:
        track.samples += samples
        track.last_samples = samples
    return track


def _laced(reader: Reader, lacing: int, end: int) -> list[int]:
    """Return the sizes of a block's packets."""
    if not lacing:
        return [end - reader.at]
    more = reader.exactly(1)[0]
    sizes: list[int] = []
    if lacing == 2:
        size = (end - reader.at) // (more + 1)
        return [size] * (more + 1)
    for index in range(more):
        if lacing == 1:
            size = 0
            while (byte := reader.exactly(1)[0]) == 255:
                size += 255
            size += byte
        else:
            value, width = _vint(reader.peek(8))
            reader.at += width
            # The first is a size, the others are differences around zero.
            size = value if not index else sizes[-1] + value - ((1 << (7 * width - 1)) - 1)
        sizes.append(size)
    sizes.append(end - reader.at - sum(sizes))
    if min(sizes) < 0:
        raise NotMeasurableError("packets beyond their block")
    return sizes


def _tracks(data: bytes) -> Iterator[tuple[int, _Track]]:
    for element, content in _children(data):
        if element != _TRACK_ENTRY:
            continue
        fields = dict(_children(content))
        number, kind = _number(fields.get(_NUMBER)), _number(fields.get(_TYPE))
        if kind == _VIDEO_TRACK:
            yield number, _Track(None)
        elif kind == _AUDIO_TRACK:
            if _ENCODINGS in fields:
                raise NotMeasurableError("compressed packets")
            yield number, _Track(_codec(fields))


def _codec(fields: dict[int, bytes]) -> Codec:
    name = fields.get(_CODEC_ID, b"").rstrip(b"\0").decode("latin-1")
    private = fields.get(_CODEC_PRIVATE, b"")
    audio = dict(_children(fields.get(_AUDIO, b"")))
    rate = round(_real(audio.get(_SAMPLING_FREQUENCY)) or 8000)
    if name == "A_OPUS":
        return Opus(private)
    if name == "A_VORBIS":
        first, _, setup = _xiph_packets(private)
        return Vorbis(first, setup)
    if name == "A_FLAC":
        return Flac(rate)
    if name.startswith("A_AAC"):
        return Fixed(aac_rate(private) or rate, 1024)
    if name.startswith("A_MPEG/L"):
        return Mpeg(rate)
    if name.startswith("A_PCM"):
        return Pcm(rate, (_number(audio.get(_CHANNELS)) or 1) * _number(audio.get(_BIT_DEPTH)) // 8)
    raise NotMeasurableError(f"codec {name}")


def _xiph_packets(private: bytes) -> tuple[bytes, bytes, bytes]:
    """Split the three header packets of Vorbis: their number less one, two lengths in bytes of up to 255."""
    sizes, at = [], 1
    for _ in range(2):
        size = 0
        while private[at] == 255:
            size, at = size + 255, at + 1
        sizes.append(size + private[at])
        at += 1
    second = at + sizes[0]
    return private[at:second], private[second : second + sizes[1]], private[second + sizes[1] :]


def _children(data: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Bytes(data)
    while reader.left:
        element, size = _element(reader)
        if size is None:
            raise NotMeasurableError("an element of unknown size")
        yield element, reader.read(size)


def _element(reader: Reader | _Bytes) -> tuple[int, int | None]:
    """Read the id of an element and its size, None where that is not known, and go behind both."""
    head = reader.peek(12)
    width = 9 - head[0].bit_length()
    if width > 4:
        raise NotMeasurableError("no element")
    size, size_width = _vint(head[width:])
    reader.at += width + size_width
    element = int.from_bytes(head[:width])
    if size == (1 << 7 * size_width) - 1:
        return element, None
    if element in (_INFO, _TRACKS) and size > MAX_PEEK_BYTES:
        raise NotMeasurableError("headers that are too long")
    return element, size


def _vint(data: bytes) -> tuple[int, int]:
    """Return a number of variable length, and its bytes."""
    if not data or not data[0]:
        raise NotMeasurableError("no number")
    width = 9 - data[0].bit_length()
    return int.from_bytes(data[:width]) & ((1 << 7 * width) - 1), width


def _number(data: bytes | None) -> int:
    return int.from_bytes(data or b"")


def _real(data: bytes | None) -> float:
    if not data:
        return 0.0
    return float(struct.unpack(">f" if len(data) == 4 else ">d", data)[0])


class _Bytes:
    """A position in bytes that were read already."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def left(self) -> int:
        return max(0, len(self._data) - self.at)

    def peek(self, count: int) -> bytes:
        return self._data[self.at : self.at + count]

    def read(self, count: int) -> bytes:
        found = self.peek(count)
        self.at += count
        return found
