"""Ogg: Opus, Vorbis, FLAC and Speex in pages, also of files that were joined (chained)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from hedra_provider.media.flac import stream_rate
from hedra_provider.media.packets import HEAD_BYTES, Codec, Fixed, Flac, Opus, Vorbis
from hedra_provider.media.played import Played
from hedra_provider.media.reader import NotMeasurableError, Reader

_PAGE_BYTES = 27
_CONTINUED, _FIRST = 1, 2
_MAX_HEADER_BYTES = 1024 * 1024


@dataclass
class _Stream:
    """One logical stream between its first page and the next one of its place."""

    codec: Codec | None = None
    headers: list[bytes] = field(default_factory=list)
    headers_left: int = 1
    samples: int = 0
    cut_samples: int = 0
    last_packet_samples: int = 0
    granule: int = 0
    partial: bytearray = field(default_factory=bytearray)
    partial_size: int = 0
    is_open: bool = False
    """Whether the packet in ``partial`` goes on in the next page."""

    def played(self, *, is_first: bool, is_chained: bool) -> Fraction:
        """
        Return the seconds without what the encoder added.

        :param is_first: Whether it begins the file: only there decoders cut off the start.
        :param is_chained: Whether the file has several parts. FFmpeg does not cut the end of Vorbis then, and
            plays the first packet of each further part.
        """
        assert self.codec  # noqa: S101  asked of measured streams only
        samples = self.samples
        cuts_end = isinstance(self.codec, Opus) or (isinstance(self.codec, Vorbis) and not is_chained)
        # The position of the last page cuts off what the last packets hold too much. What it cuts off beyond
        # that, decoders play.
        if cuts_end and 0 <= samples - self.granule <= 2 * self.last_packet_samples:
            samples = self.granule
        if isinstance(self.codec, Vorbis) and not is_first:
            samples += self.codec.first_block // 2
        return Fraction(max(0, samples - (self.codec.delay if is_first else 0)), self.codec.rate)

    @property
    def at_most(self) -> Fraction:
        """Seconds, with all that packets hold."""
        assert self.codec  # noqa: S101
        return Fraction(self.samples + self.cut_samples, self.codec.rate)


def ogg(reader: Reader) -> Played | None:
    """Measure the sound of an Ogg file."""
    streams: dict[int, _Stream] = {}
    total = Played(Fraction(0), Fraction(0))
    in_headers = True
    while reader.left >= _PAGE_BYTES:
        head = reader.peek(_PAGE_BYTES)
        if head[:4] != b"OggS":
            if not reader.find(b"OggS"):
                break
            continue
        reader.at += _PAGE_BYTES
        flags, granule = head[5], int.from_bytes(head[6:14], "little", signed=True)
        serial, table = int.from_bytes(head[14:18], "little"), reader.read(head[26])
        body = reader.read(sum(table))
        if flags & _FIRST:
            if not in_headers:
                _add_link(total, streams, is_chained=True)
                streams = {}
            streams[serial] = _Stream()
        in_headers = bool(flags & _FIRST)
        stream = streams.get(serial)
        if stream is not None:
            is_cut = len(body) < sum(table)
            _read_page(stream, table, body, is_continued=bool(flags & _CONTINUED), is_cut=is_cut)
            if granule >= 0 and not is_cut:
                stream.granule = granule
    _add_link(total, streams, is_chained=total.at_most > 0)
    return total if total.seconds else None


def _add_link(total: Played, streams: dict[int, _Stream], *, is_chained: bool) -> None:
    """Add what one part of a chained file plays: its longest stream."""
    measured = [stream for stream in streams.values() if stream.codec]
    if not measured:
        raise NotMeasurableError("no sound of a known codec")
    is_first = not total.at_most
    total.seconds += max(stream.played(is_first=is_first, is_chained=is_chained) for stream in measured)
    total.at_most += max(stream.at_most for stream in measured)


def _read_page(stream: _Stream, table: bytes, body: bytes, *, is_continued: bool, is_cut: bool) -> None:
    if not (is_continued and stream.is_open):
        stream.partial, stream.partial_size = bytearray(), 0
    before = stream.samples
    at = 0
    for lace in table:
        piece = body[at : at + lace]
        at += lace
        # The second header holds tags, with pictures of megabytes; of sound the start is enough.
        is_needed = stream.headers_left and len(stream.headers) != 1
        if is_needed or len(stream.partial) < HEAD_BYTES:
            stream.partial += piece
            if len(stream.partial) > _MAX_HEADER_BYTES:
                raise NotMeasurableError("headers that are too long")
        stream.partial_size += lace
        stream.is_open = lace == 255
        if not stream.is_open:
            _read_packet(stream, bytes(stream.partial), stream.partial_size)
            stream.partial, stream.partial_size = bytearray(), 0
    if is_cut:
        # Decoders drop a page that is not whole.
        stream.cut_samples += stream.samples - before
        stream.samples = before


def _read_packet(stream: _Stream, packet: bytes, size: int) -> None:
    if not stream.headers_left:
        if stream.codec:
            stream.last_packet_samples = stream.codec.samples(packet, size)
            stream.samples += stream.last_packet_samples
        return
    stream.headers.append(packet)
    if len(stream.headers) == 1:
        stream.headers_left = _header_packets(packet)
    stream.headers_left -= 1
    if not stream.headers_left:
        stream.codec = _codec(stream.headers)
        stream.headers = []


def _header_packets(first: bytes) -> int:
    if first.startswith(b"\x01vorbis"):
        return 3
    if first.startswith((b"OpusHead", b"Speex   ")):
        return 2
    return 1


def _codec(headers: list[bytes]) -> Codec | None:
    first = headers[0]
    if first.startswith(b"OpusHead"):
        return Opus(first)
    if first.startswith(b"\x01vorbis"):
        return Vorbis(first, headers[2])
    if first.startswith(b"\x7fFLAC"):
        # Its own header, "fLaC" and the head of a metadata block come before the STREAMINFO.
        return Flac(stream_rate(first[17:51]))
    if first.startswith(b"Speex   "):
        rate, frame, frames = (int.from_bytes(first[at : at + 4], "little") for at in (36, 56, 64))
        return Fixed(rate, frame * max(frames, 1))
    return None
