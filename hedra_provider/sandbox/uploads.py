"""Reads the file out of a multipart body in chunks: two gigabytes need no more memory than two bytes."""

from __future__ import annotations

import mimetypes
import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from hedra_provider.sandbox import rejections
from hedra_provider.sandbox.rejections import Rejection

if TYPE_CHECKING:
    from starlette.requests import Request

    from hedra_provider.sandbox.store import Incoming

FIELD = b"file"

UNKNOWN_TYPE = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}", re.ASCII)


@dataclass
class _Part:
    """The headers of the part that is being read, and whether its data are the file."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    wanted: bool = False


class _Reader:
    """The callbacks of the parser."""

    def __init__(self, incoming: Incoming) -> None:
        self.found = False
        self.filename = ""
        self.content_type = ""
        self._incoming = incoming
        self._part = _Part()

    def on_part_begin(self) -> None:
        self._part = _Part()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._part.name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._part.value += data[start:end]

    def on_header_end(self) -> None:
        part = self._part
        part.headers[bytes(part.name).lower()] = bytes(part.value)
        part.name.clear()
        part.value.clear()

    def on_headers_finished(self) -> None:
        headers = self._part.headers
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        # FastAPI reads a part without a file name as a text field.
        if options.get(b"name") == FIELD and b"filename" in options and not self.found:
            self.found = self._part.wanted = True
            self.filename = options[b"filename"].decode("utf-8", "replace")
            self.content_type = headers.get(b"content-type", b"").decode("latin-1")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.wanted:
            self._incoming.add(memoryview(data)[start:end])


async def receive_file(request: Request, incoming: Incoming) -> str:
    """Read the field ``file`` of a multipart request.

    :param request: its body is read to the end, also when it is rejected.
    :param incoming: takes the bytes.
    :return: media type of the file.
    :raises Rejection: 422 without such a field, 400 for a malformed body, 413 without space.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    rejection: Rejection | None = None
    reader = _Reader(incoming)
    parser = None
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        names = [name for name in dir(reader) if name.startswith("on_")]
        parser = MultipartParser(options[b"boundary"], {name: getattr(reader, name) for name in names})  # type: ignore[arg-type]
    async for chunk in request.stream():
        if parser is None or rejection is not None:
            # A client reads the rejection only after it has sent everything.
            continue
        try:
            parser.write(chunk)
            await incoming.flush()
        except MultipartParseError:
            rejection = Rejection(400, {"detail": "There was an error parsing the body"})
        except Rejection as no_space:
            rejection = no_space
    if rejection is not None:
        raise rejection
    if not reader.found:
        raise rejections.unprocessable(["body", "file"], "Field required", "missing")
    return media_type(reader.content_type, reader.filename)


def media_type(content_type: str, filename: str, default: str = UNKNOWN_TYPE) -> str:
    """Choose the media type that the file is served with.

    :param content_type: header of the upload; used if it names a type that can be sent as a header.
    :param filename: its suffix decides otherwise.
    :param default: what a file without a known suffix gets; default ``application/octet-stream``.
    """
    named = content_type.partition(";")[0].strip()
    if named != UNKNOWN_TYPE and _MEDIA_TYPE.fullmatch(named):
        return named
    # Only the suffix: guess_type() takes a whole name for a URL, and rejects some.
    return mimetypes.guess_type("x" + PurePosixPath(filename).suffix)[0] or default
