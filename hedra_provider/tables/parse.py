"""Parses a table into rows: CSV, a JSON array, or one JSON object on each line."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED_COLUMNS = ("name", "portrait")
COLUMNS = (*REQUIRED_COLUMNS, "text", "voice", "audio", "language")
"""The known columns; all others are ignored."""

_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}


@dataclass(frozen=True)
class ParsedRow:
    """
    One row of a table.

    :param place: Its place, for messages: ``line 3`` of a text file, ``row 3`` of a JSON array.
    :param cells: The text of each known column; empty for a column that the row leaves out.
    :param fault: Why the row could not be parsed; None (the default) if it could.
    """

    place: str
    cells: dict[str, str]
    fault: str | None = None


def decode_table(content: bytes) -> str:
    """
    Return the text of a table, without a byte order mark.

    :param content: The table's bytes.
    :raises ValueError: If it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"it is not UTF-8 text (line {line}); save it as UTF-8, in Excel as 'CSV UTF-8'"
        ) from None


def parse_table(text: str) -> list[ParsedRow]:
    """
    Return the rows of a table in their order.

    The first character decides: ``[`` begins a JSON array, ``{`` JSON lines, anything else CSV.

    :param text: The whole table.
    :raises ValueError: If it is not a table: invalid JSON, or CSV whose first line does not name the columns.
    """
    start = text.lstrip()[:1]
    if start == "[":
        try:
            rows = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is not JSON: {error}") from None
        return [_row_of_json(f"row {number}", row) for number, row in enumerate(rows, 1)]
    return list(_json_lines(text) if start == "{" else _csv_rows(text))


def _json_lines(text: str) -> Iterator[ParsedRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _row_of_json(f"line {number}", json.loads(line))
        except (ValueError, RecursionError) as error:
            yield ParsedRow(f"line {number}", {}, f"it is not JSON: {error}")


def _row_of_json(place: str, row: Any) -> ParsedRow:
    if not isinstance(row, dict):
        return ParsedRow(place, {}, "it is not a JSON object")
    odd = [name for name in COLUMNS if not isinstance(row.get(name), str | None)]
    if odd:
        return ParsedRow(place, {}, f"{', '.join(odd)} must be strings")
    return ParsedRow(place, _known(row))


def _csv_rows(text: str) -> Iterator[ParsedRow]:
    first_line = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        head = [name.strip().lower() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"its first line is not CSV: {error}") from None
    if not set(REQUIRED_COLUMNS) <= set(head) or len(set(head)) < len(head):
        wanted = " and ".join(REQUIRED_COLUMNS)
        raise ValueError(
            f"its first line must name the columns, each once, with {wanted}; it is {first_line[:200]!r}"
        )
    last_line = reader.line_num
    while True:
        # A quoted cell may span several lines. Messages name the first line of a row.
        place = f"line {last_line + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            # Usually an unclosed quote. The start of the next row is then unknown.
            yield ParsedRow(place, {}, f"it can't be read ({error}), nor can what follows: check its quotes")
            return
        if cells is None:
            return
        last_line = reader.line_num
        if len(cells) > len(head):
            fault = f"it has {len(cells)} cells, the first line has {len(head)}"
            advice = f"put a text that has a {_DELIMITERS[delimiter]} in it between double quotes"
            yield ParsedRow(place, {}, f"{fault}: {advice}")
        elif any(cells):
            yield ParsedRow(place, _known(dict(zip(head, cells, strict=False))))


def _known(row: dict[str, Any]) -> dict[str, str]:
    return {name: row.get(name) or "" for name in COLUMNS}
