"""Reads the file out of a multipart body, bit by bit: two gigabytes need no more memory than two bytes."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from hedra_provider.sandbox import refusals
from hedra_provider.sandbox.refusals import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from hedra_provider.sandbox.store import Incoming

FIELD = b"file"


@dataclass
class _Part:
    """The headers of the part that is being read, and what to do with its data."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: bytearray = field(default_factory=bytearray)
    value: bytearray = field(default_factory=bytearray)
    wanted: bool = False


class _Reader:
    """The callbacks of the parser."""

    def __init__(self, incoming: Incoming) -> None:
        self.found = False
        self.filename = ""
        self.media_type = ""
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
        # FastAPI takes a part without a file name for a text field.
        if options.get(b"name") == FIELD and b"filename" in options and not self.found:
            self.found = self._part.wanted = True
            self.filename = options[b"filename"].decode("utf-8", "replace")
            self.media_type = headers.get(b"content-type", b"").decode("latin-1")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.wanted:
            self._incoming.add(memoryview(data)[start:end])


async def receive_file(request: Request, incoming: Incoming) -> str:
    """Read the field ``file`` of a multipart request.

    :param request: its body is read to the end, also when it is refused.
    :param incoming: takes the bytes.
    :return: media type of the file.
    :raises Refusal: 422 without such a field, 400 for a broken body, 413 when there is no space.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    refusal: Refusal | None = None
    reader = _Reader(incoming)
    parser = None
    if kind == b"multipart/form-data" and options.get(b"boundary"):
        names = [name for name in dir(reader) if name.startswith("on_")]
        parser = MultipartParser(options[b"boundary"], {name: getattr(reader, name) for name in names})  # type: ignore[arg-type]
    async for chunk in request.stream():
        if parser is None or refusal is not None:
            # A client hears the refusal only when it has finished talking.
            continue
        try:
            parser.write(chunk)
        except MultipartParseError:
            refusal = Refusal(400, {"detail": "There was an error parsing the body"})
        except Refusal as no_space:
            refusal = no_space
        await incoming.flush()
    if refusal is not None:
        raise refusal
    if not reader.found:
        raise refusals.unprocessable(["body", "file"], "Field required", "missing")
    if reader.media_type in ("", "application/octet-stream"):
        return mimetypes.guess_type(reader.filename)[0] or "application/octet-stream"
    return reader.media_type
