"""Inspect an image without decoding its pixels: its size, whether it is cut, whether it is unusual.

The structure of the file is read to its end, so a file that a transfer cut is found: a JPEG without its end
marker, a PNG without ``IEND``, a GIF without its trailer, or a WebP, TIFF, BMP, HEIC or AVIF that is shorter
than its header states.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from hedra_provider.media.reader import FileEndsEarlyError, NotMeasurableError, Reader

if TYPE_CHECKING:
    from collections.abc import Callable

USUAL = frozenset({"image/jpeg", "image/png", "image/webp"})
"""The types that practically every service accepts."""

_JPEG_BLOCK_BYTES = 64 * 1024
# In the pixels of a JPEG, a marker that is neither an escaped 0xFF nor a restart.
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TIFF_FORMATS = {1: "B", 3: "H", 4: "I"}
_MAX_VALUES = 100_000
_UPRIGHT = 1
_CMYK = 5


@dataclass
class ImageFacts:
    """
    The facts of an image.

    :param width: Pixels as stored; 0 if not known.
    :param height: Pixels as stored; 0 if not known.
    :param is_cut: Whether the file ends before the image does.
    :param is_rotated: Whether its EXIF orientation rotates or mirrors it.
    :param is_cmyk: Whether its colours are CMYK, those of print.
    :param is_deep: Whether it has more than 8 bits per colour.
    :param is_animated: Whether it holds several pictures.
    """

    width: int = 0
    height: int = 0
    is_cut: bool = False
    is_rotated: bool = False
    is_cmyk: bool = False
    is_deep: bool = False
    is_animated: bool = False
    frames: int = field(default=0, repr=False)


def inspect_image(file: BinaryIO, size: int, mime: str) -> ImageFacts:
    """
    Read the facts of an image. Never raises.

    :param file: Readable and seekable; left at its start.
    :param size: Its length in bytes.
    :param mime: Its type, from :func:`hedra_provider.media.media_type.detect_media_type`.
    :return: The facts; defaults for those that can't be read, and for unknown types.
    """
    facts = ImageFacts()
    walk = _WALKS.get(mime)
    try:
        if walk:
            walk(Reader(file, size), facts)
    except FileEndsEarlyError:
        facts.is_cut = True
    except Exception:  # noqa: BLE001, S110  what this module can't read, Hedra may read
        pass
    finally:
        file.seek(0)
    facts.is_animated = facts.is_animated or facts.frames > 1
    return facts


def _jpeg(reader: Reader, facts: ImageFacts) -> None:
    reader.skip(2)
    while True:
        if reader.exactly(1) != b"\xff":
            raise NotMeasurableError("no marker")
        while (marker := reader.exactly(1)[0]) == 0xFF:
            pass
        if marker == 0xD9:
            return
        if marker == 1 or 0xD0 <= marker <= 0xD7:
            continue
        length = int.from_bytes(reader.exactly(2)) - 2
        segment = reader.peek(max(0, length))
        reader.skip(length)
        if marker in _JPEG_SIZES:
            depth, facts.height, facts.width, colours = struct.unpack(">BHHB", segment[:6])
            facts.is_deep, facts.is_cmyk = depth > 8, colours == 4
        elif marker == 0xE1 and segment[:6] == b"Exif\0\0":
            facts.is_rotated = _is_turned(segment[6:])
        elif marker == 0xDA:
            _skip_jpeg_pixels(reader)


def _skip_jpeg_pixels(reader: Reader) -> None:
    while True:
        block = reader.peek(_JPEG_BLOCK_BYTES)
        found = _JPEG_MARKER.search(block)
        if found:
            reader.at += found.start()
            return
        if len(block) < _JPEG_BLOCK_BYTES:
            raise FileEndsEarlyError("no end marker")
        # The last byte may begin a marker.
        reader.at += len(block) - 1


def _png(reader: Reader, facts: ImageFacts) -> None:
    reader.skip(8)
    while True:
        length, kind = struct.unpack(">I4s", reader.exactly(8))
        if kind == b"IHDR":
            facts.width, facts.height, depth = struct.unpack(">IIB", reader.peek(9))
            facts.is_deep = depth > 8
        elif kind == b"acTL":
            facts.is_animated = True
        elif kind == b"eXIf":
            facts.is_rotated = _is_turned(reader.peek(length))
        # The checksum follows.
        reader.skip(length + 4)
        if kind == b"IEND":
            return


def _gif(reader: Reader, facts: ImageFacts) -> None:
    head = reader.exactly(13)
    facts.width, facts.height = struct.unpack("<HH", head[6:10])
    reader.skip(_gif_colours(head[10]))
    while (block := reader.exactly(1)) != b";":
        if block == b",":
            facts.frames += 1
            reader.skip(_gif_colours(reader.exactly(9)[8]) + 1)
        elif block == b"!":
            reader.skip(1)
        else:
            raise NotMeasurableError("no block")
        while size := reader.exactly(1)[0]:
            reader.skip(size)


def _gif_colours(flags: int) -> int:
    """Return the bytes of a table of colours."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(reader: Reader, facts: ImageFacts) -> None:
    end = int.from_bytes(reader.exactly(12)[4:8], "little") + 8
    while reader.at < end:
        name, size = struct.unpack("<4sI", reader.exactly(8))
        data = reader.peek(min(size, 64))
        if name == b"VP8X":
            facts.is_animated = bool(data[0] & 2)
            facts.width = int.from_bytes(data[4:7], "little") + 1
            facts.height = int.from_bytes(data[7:10], "little") + 1
        elif name == b"VP8 " and not facts.width:
            facts.width, facts.height = (side & 0x3FFF for side in struct.unpack("<HH", data[6:10]))
        elif name == b"VP8L" and not facts.width:
            bits = int.from_bytes(data[1:5], "little")
            facts.width, facts.height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif name == b"EXIF":
            facts.is_rotated = _is_turned(reader.peek(size).removeprefix(b"Exif\0\0"))
        reader.skip(size)
        # The byte that fills an odd chunk is often missing at the end.
        reader.at += size & 1


def _bmp(reader: Reader, facts: ImageFacts) -> None:
    head = reader.exactly(34)
    start, header_bytes = struct.unpack("<II", head[10:18])
    if header_bytes < 40:
        raise NotMeasurableError("an old bitmap")
    width, height, _, bits, compression = struct.unpack("<iiHHI", head[18:34])
    facts.width, facts.height = abs(width), abs(height)
    if not compression and start + (facts.width * bits + 31) // 32 * 4 * facts.height > reader.end:
        raise FileEndsEarlyError("rows are missing")


def _tiff(reader: Reader, facts: ImageFacts) -> None:
    order = "<" if reader.peek(2) == b"II" else ">"
    tags, more = _tiff_tags(reader, order, int.from_bytes(reader.exactly(8)[4:], _BYTE_ORDERS[order]))  # type: ignore[arg-type]
    facts.width, facts.height = tags.get(256, (0,))[0], tags.get(257, (0,))[0]
    facts.is_deep = max(tags.get(258, (1,))) > 8
    facts.is_cmyk = tags.get(262, (0,))[0] == _CMYK
    facts.is_rotated = tags.get(274, (_UPRIGHT,))[0] != _UPRIGHT
    facts.is_animated = bool(more)
    for starts, sizes in ((273, 279), (324, 325)):
        for start, size in zip(tags.get(starts, ()), tags.get(sizes, ()), strict=False):
            if start + size > reader.end:
                raise FileEndsEarlyError("strips are missing")


_BYTE_ORDERS = {"<": "little", ">": "big"}


def _tiff_tags(reader: Reader, order: str, start: int) -> tuple[dict[int, tuple[int, ...]], int]:
    """Return the numbers of a directory by their tags, and where the next directory is."""
    reader.at = 0
    reader.skip(start)
    (count,) = struct.unpack(f"{order}H", reader.exactly(2))
    entries = reader.exactly(12 * count)
    (following,) = struct.unpack(f"{order}I", reader.exactly(4))
    tags = {}
    for tag, kind, values, place in struct.iter_unpack(f"{order}HHI4s", entries):
        code = _TIFF_FORMATS.get(kind)
        if code is None or values > _MAX_VALUES:
            continue
        layout = f"{order}{values}{code}"
        size = struct.calcsize(layout)
        if size > 4:
            reader.at = 0
            reader.skip(struct.unpack(f"{order}I", place)[0])
            place = reader.exactly(size)
        tags[tag] = struct.unpack(layout, place[:size])
    return tags, following


def _heif(reader: Reader, facts: ImageFacts) -> None:
    """Walk the boxes of an HEIC or AVIF file."""
    while reader.left:
        head = reader.exactly(8)
        size, kind, head_bytes = int.from_bytes(head[:4]), head[4:], 8
        if size == 1:
            size, head_bytes = int.from_bytes(reader.exactly(8)), 16
        elif size == 0:
            size = reader.left + head_bytes
        if size < head_bytes:
            raise NotMeasurableError("a box that is shorter than its head")
        if kind == b"ftyp":
            facts.is_animated = reader.peek(4) in (b"avis", b"hevc", b"msf1")
        elif kind == b"meta":
            meta = reader.peek(min(size - head_bytes, reader.left))
            # Tiles have sizes too; the image is the largest.
            for found in re.finditer(rb"ispe....(.{8})", meta, re.DOTALL):
                width, height = struct.unpack(">II", found[1])
                if width * height > facts.width * facts.height:
                    facts.width, facts.height = width, height
            rotation = re.search(rb"\0\0\0\x09irot(.)", meta, re.DOTALL)
            facts.is_rotated = bool(rotation and rotation[1][0] & 3)
            depth = re.search(rb"pixi....(.)(.)", meta, re.DOTALL)
            facts.is_deep = bool(depth and depth[2][0] > 8)
        reader.skip(size - head_bytes)


def _is_turned(exif: bytes) -> bool:
    """Return whether the orientation in EXIF data is another than upright."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return False
    try:
        (start,) = struct.unpack(f"{order}I", exif[4:8])
        (count,) = struct.unpack(f"{order}H", exif[start : start + 2])
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack(f"{order}HHIH", exif[at : at + 10])
            if tag == 274 and kind == 3:
                return bool(2 <= value <= 8)
    except struct.error:
        pass
    return False


_WALKS: dict[str, Callable[[Reader, ImageFacts], None]] = {
    "image/jpeg": _jpeg,
    "image/png": _png,
    "image/gif": _gif,
    "image/webp": _webp,
    "image/bmp": _bmp,
    "image/tiff": _tiff,
    "image/heic": _heif,
    "image/avif": _heif,
}
