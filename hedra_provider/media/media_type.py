"""Detect the type of a file from its content: image, audio or video, and its MIME type.

The content has precedence over the name. A portrait.png that is a JPEG is sent as a JPEG, and a text file
named voice.wav is rejected before anything is sent.
"""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

HEAD_BYTES = 4096
"""The number of first bytes that :func:`detect_media_type` needs."""

_MAX_TAGS = 8

KINDS = ("image", "audio", "video")

_IMAGE, _AUDIO, _VIDEO = ("image",), ("audio",), ("video",)
# Containers that hold either: the requested type decides, then the name.
_AUDIO_OR_VIDEO, _VIDEO_OR_AUDIO = ("audio", "video"), ("video", "audio")

# Suffixes of formats that always begin with a signature: without it, the file has another format.
# Not MP3: its first frame may follow any other bytes.
_SIGNED_SUFFIXES = frozenset(
    {
        ".aif",
        ".aiff",
        ".avi",
        ".avif",
        ".bmp",
        ".flac",
        ".gif",
        ".heic",
        ".heif",
        ".jpeg",
        ".jpg",
        ".m4a",
    }
    | {".mkv", ".mp4", ".oga", ".ogg", ".opus", ".png", ".tif", ".tiff", ".wav", ".webm", ".webp"}
)

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"})
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})


@dataclass(frozen=True)
class Medium:
    """
    A format, recognised by the first bytes of a file.

    :param mime: Its MIME type.
    :param kinds: Which of ``image``, ``audio`` and ``video`` it can hold; the likeliest first.
    """

    mime: str
    kinds: tuple[str, ...]


def detect_media_type(
    head: bytes, name: str, *, param: str, asset_type: str | None = None
) -> tuple[str, str]:
    """
    Return the asset type of a file, and its MIME type.

    :param head: Its first bytes, from :func:`read_head`.
    :param name: Its name. It decides if the format can hold several types, or is unknown.
    :param param: The operator's parameter for this file, for messages.
    :param asset_type: The type that it must have: ``image``, ``audio`` or ``video``; any by default.
    :return: The asset type and the MIME type.
    :raises HedraValueError: If it has another type, or neither content nor name show the type.
    """
    if asset_type is not None and asset_type not in KINDS:
        raise HedraValueError(
            f"asset_type: {shown(asset_type)} is not one of {', '.join(KINDS)}.", param="asset_type"
        )
    named = mimetypes.guess_type(name)[0] or ""
    named_kind = named.partition("/")[0]
    found = recognise(head)
    if found:
        kind = asset_type or (named_kind if named_kind in found.kinds else found.kinds[0])
        if kind not in found.kinds:
            raise _wrong(param, name, f"is {found.mime}", kind)
        return kind, f"{kind}/{found.mime.partition('/')[2]}"
    wanted = asset_type or (named_kind if named_kind in KINDS else None)
    other = _something_else(head)
    if other:
        raise _wrong(param, name, f"is {other}", wanted)
    if PurePosixPath(name).suffix.lower() in _SIGNED_SUFFIXES:
        raise _wrong(param, name, "does not begin as such a file does", wanted)
    if wanted is None:
        raise HedraValueError(
            f"{param}: neither the content nor the name of {shown(name)} shows its type.",
            param="asset_type",
            remedy="Give asset_type: image, audio or video.",
        )
    return wanted, named if named_kind == wanted else "application/octet-stream"


def read_head(file: BinaryIO) -> bytes:
    """
    Return the bytes of a file that show its format.

    They are not always its first: AAC or FLAC may follow an ID3 tag, which has up to 256 MiB.

    :param file: Readable and seekable; left at its start.
    :return: At most 4,096 bytes.
    """
    first = head = file.read(HEAD_BYTES)
    start = 0
    for _ in range(_MAX_TAGS):
        if head[:3] != b"ID3" or len(head) < 10:
            break
        start += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        file.seek(start)
        head = file.read(HEAD_BYTES)
    file.seek(0)
    found = recognise(head)
    return head if found and "audio" in found.kinds else first


def recognise(head: bytes) -> Medium | None:
    """
    Return the format of a file.

    :param head: At least its first 16 bytes; 189 for MPEG-TS.
    :return: None for an unknown format.
    """
    return next((medium for recogniser in _RECOGNISERS if (medium := recogniser(head))), None)


def _riff(head: bytes) -> Medium | None:
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
        return None
    forms = {
        b"WAVE": Medium("audio/wav", _AUDIO),
        b"WEBP": Medium("image/webp", _IMAGE),
        b"AVI ": Medium("video/x-msvideo", _VIDEO),
    }
    return forms.get(head[8:12])


def _iso_media(head: bytes) -> Medium | None:
    """MP4 and what was made after it: M4A, QuickTime, 3GP, HEIC, AVIF."""
    box = head[4:8]
    if box in _QUICKTIME_BOXES:
        return Medium("video/quicktime", _VIDEO_OR_AUDIO)
    if box != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4]), len(head))
    brand = head[8:12]
    brands = {brand} | {head[at : at + 4] for at in range(16, end - 3, 4)}
    if brands & {b"avif", b"avis"}:
        return Medium("image/avif", _IMAGE)
    if brand in _HEIF_BRANDS:
        return Medium("image/heic", _IMAGE)
    if brand in (b"M4A ", b"M4B "):
        return Medium("audio/mp4", _AUDIO)
    if brand == b"qt  ":
        return Medium("video/quicktime", _VIDEO_OR_AUDIO)
    if brand[:3] in (b"3gp", b"3g2"):
        return Medium("video/3gpp", _VIDEO_OR_AUDIO)
    return Medium("video/mp4", _VIDEO_OR_AUDIO)


def _ogg(head: bytes) -> Medium | None:
    if not head.startswith(b"OggS"):
        return None
    return Medium("video/ogg", _VIDEO) if b"theora" in head[:512] else Medium("audio/ogg", _AUDIO_OR_VIDEO)


def _matroska(head: bytes) -> Medium | None:
    if not head.startswith(b"\x1aE\xdf\xa3"):
        return None
    return Medium("video/webm" if b"webm" in head[:64] else "video/x-matroska", _VIDEO_OR_AUDIO)


def _mpeg_audio(head: bytes) -> Medium | None:
    """A bare frame of MP3, MP2 or AAC: eleven bits set, and fields that have a meaning."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return Medium("audio/aac", _AUDIO)
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sample_rate = head[2] >> 4, head[2] >> 2 & 3
    good = version != 1 and layer in (1, 2) and bit_rate != 15 and sample_rate != 3
    return Medium("audio/mpeg", _AUDIO) if good else None


def _other_image(head: bytes) -> Medium | None:
    # "BM" alone may begin any text; a bitmap has four reserved bytes behind its size.
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return Medium("image/bmp", _IMAGE)
    return Medium("image/tiff", _IMAGE) if head[:4] in (b"II*\0", b"MM\0*") else None


def _other_audio(head: bytes) -> Medium | None:
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return Medium("audio/aiff", _AUDIO)
    return None


def _transport_stream(head: bytes) -> Medium | None:
    return Medium("video/mp2t", _VIDEO_OR_AUDIO) if head[:1] == b"G" and head[188:189] == b"G" else None


def _starts(signature: bytes, mime: str, kinds: tuple[str, ...]) -> Callable[[bytes], Medium | None]:
    medium = Medium(mime, kinds)
    return lambda head: medium if head.startswith(signature) else None


_RECOGNISERS: tuple[Callable[[bytes], Medium | None], ...] = (
    _starts(b"\x89PNG\r\n\x1a\n", "image/png", _IMAGE),
    _starts(b"\xff\xd8\xff", "image/jpeg", _IMAGE),
    _starts(b"GIF87a", "image/gif", _IMAGE),
    _starts(b"GIF89a", "image/gif", _IMAGE),
    _riff,
    _iso_media,
    _starts(b"ID3", "audio/mpeg", _AUDIO),
    _starts(b"fLaC", "audio/flac", _AUDIO),
    _ogg,
    _matroska,
    _mpeg_audio,
    _other_image,
    _other_audio,
    _starts(b"#!AMR", "audio/amr", _AUDIO),
    _starts(b"caff", "audio/x-caf", _AUDIO),
    _starts(b".snd", "audio/basic", _AUDIO),
    _starts(b"FLV\x01", "video/x-flv", _VIDEO),
    _starts(b"0&\xb2u\x8ef\xcf\x11", "video/x-ms-asf", _VIDEO_OR_AUDIO),
    _starts(b"\0\0\x01\xba", "video/mpeg", _VIDEO),
    _starts(b"\0\0\x01\xb3", "video/mpeg", _VIDEO),
    _transport_stream,
)

_OTHERS = {
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "compressed by gzip",
    b"7z\xbc\xaf'\x1c": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x7fELF": "a program",
}


def _something_else(head: bytes) -> str | None:
    """Return what a file is that surely is no media file, None where that is not sure."""
    for signature, what in _OTHERS.items():
        if head.startswith(signature):
            return what
    return "text" if _is_text(head) else None


def _is_text(head: bytes) -> bool:
    try:
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text = head[: len(head) & ~1].decode("utf-16")
        else:
            # The last character may be cut.
            text = head.decode("utf-8") if len(head) < HEAD_BYTES else _without_tail(head)
    except UnicodeDecodeError:
        return False
    return bool(text) and not any(sign < " " and sign not in "\t\n\r\f\v\x1b" for sign in text)


def _without_tail(head: bytes) -> str:
    for tail in range(4):
        try:
            return head[: len(head) - tail].decode("utf-8")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4:
                raise
    return head.decode("utf-8")


def _wrong(param: str, name: str, what: str, wanted: str | None) -> HedraValueError:
    article = {"image": "an image", "audio": "an audio", "video": "a video"}
    return HedraValueError(
        f"{param}: {shown(name)} {what}, not {article.get(wanted or '', 'an image, audio or video')}.",
        param=param,
        remedy="Check the path, and how the file was made. Nothing was sent.",
    )
