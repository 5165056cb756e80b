"""The checks of a row: each column becomes an argument of the operator, or a fault."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
import uuid
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypedDict

from hedra_provider.tables.parse import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from hedra_provider.tables.parse import ParsedRow

_KINDS = {"audio": "audio", "portrait": "image"}
"""The columns that name media, and the type of media."""

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
"""Characters that no XCom can hold: PostgreSQL stores no NUL, and UTF-8 has no lone surrogate."""

_MAX_NAMED_VOICES = 40


class TableRow(TypedDict):
    """
    A checked row, as tasks pass it on by XCom.

    ``place`` is its place in the table, e.g. ``line 3``. ``audio`` and ``image`` are an asset id, or the path
    or the URI of a file. Exactly one of ``text`` (with ``voice_id``) and ``audio`` is set.
    """

    place: str
    name: str
    text: str | None
    voice_id: str | None
    language: str
    audio: str | None
    image: str


class RowFaults(Exception):
    """All faults of one row."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


class RowChecker:
    """
    Checks the rows of one table, one after the other. It remembers the names that are taken.

    :param voices: Id and name of each voice that the account has.
    :param folder: The folder of inputs: a path or URI without a slash at its end.
    :param require_file: Called with a path or URI and its column, once for each file; raises ValueError, with
        the reason, if there is no such file.
    """

    def __init__(
        self,
        voices: Iterable[tuple[str, str]],
        folder: str,
        require_file: Callable[[str, str], None],
    ) -> None:
        self._voices = list(voices)
        self._folder = folder
        self._require_file = require_file
        self._places: dict[str, str] = {}
        self._files: dict[str, str | None] = {}

    def check(self, row: ParsedRow) -> TableRow:
        """
        Return a row as the operator needs it.

        :param row: The row, as :func:`hedra_provider.tables.parse.parse_table` returns it.
        :raises RowFaults: With all faults of the row.
        """
        faults = [row.fault] if row.fault else list(unstorable_cells(row.cells))
        if faults:
            raise RowFaults(faults)

        def checked(check: Callable[[], str | None]) -> str | None:
            try:
                return check()
            except ValueError as error:
                faults.append(str(error))
                return None

        cells = row.cells
        found = TableRow(
            place=row.place,
            name=checked(lambda: self._name(row)) or "",
            text=checked(lambda: spoken_text(cells)),
            voice_id=checked(lambda: self._voice_id(cells)),
            language=cells["language"].strip() or "auto",
            audio=checked(lambda: self._media(cells, "audio")),
            image=checked(lambda: self._media(cells, "portrait")) or "",
        )
        if faults:
            raise RowFaults(faults)
        return found

    def _name(self, row: ParsedRow) -> str:
        """Return the clip's name. Its file gets the same name."""
        name = row.cells["name"].strip()
        if not re.fullmatch(r"\w[\w.-]{0,49}", name):
            raise ValueError(
                f"name {name!r} is not a file name: give 1 to 50 letters, digits, '_', '-' or '.', "
                "and begin with a letter, a digit or '_'"
            )
        first = self._places.setdefault(alike(name), row.place)
        if first != row.place:
            raise ValueError(f"name {name!r} is taken by {first}")
        return name

    def _voice_id(self, cells: dict[str, str]) -> str | None:
        """Return the id of the voice that speaks the text; None without a text."""
        wanted = cells["voice"]
        if not cells["text"].strip():
            return None
        ids = [voice for voice, name in self._voices if alike(wanted) in (alike(voice), alike(name))]
        if len(ids) == 1:
            return ids[0]
        if ids:
            raise ValueError(
                f"voice {wanted!r} is the name of several voices: give an id of {', '.join(ids)}"
            )
        names = sorted({name for _, name in self._voices if name})
        more = len(names) - _MAX_NAMED_VOICES
        offered = ", ".join(names[:_MAX_NAMED_VOICES]) + (f" and {more} more" if more > 0 else "")
        fault = f"voice {wanted!r} is unknown" if wanted.strip() else "voice is missing"
        raise ValueError(f"{fault}; the account has {offered or 'none'}")

    def _media(self, cells: dict[str, str], column: str) -> str | None:
        """
        Return the path or URI of a file, or the id of an asset.

        A table is foreign data: it may name no file outside the folder of inputs.
        """
        given = cells[column].strip()
        if not given:
            if column == "portrait":
                raise ValueError("portrait is missing")
            return None
        try:
            return str(uuid.UUID(given))
        except ValueError:
            path = PurePosixPath(given)
        if path.is_absolute() or ".." in path.parts or re.search(r"[\\:~]", given):
            raise ValueError(f"{column} {given!r} is not a path below the folder of inputs, {self._folder}")
        kind = _KINDS[column]
        if not (mimetypes.guess_type(given)[0] or "").startswith(f"{kind}/"):
            raise ValueError(f"{column} {given!r} has no name of {_WITH_ARTICLE[kind]} file")
        uri = f"{self._folder}/{path}"
        if uri not in self._files:
            self._files[uri] = self._fault_of(uri, column)
        if fault := self._files[uri]:
            raise ValueError(fault)
        return uri

    def _fault_of(self, uri: str, column: str) -> str | None:
        try:
            self._require_file(uri, column)
        except ValueError as error:
            return str(error)
        return None


_WITH_ARTICLE = {"audio": "an audio", "image": "an image"}


def spoken_text(cells: dict[str, str]) -> str | None:
    """
    Return the text exactly as the table has it; None if the row has a recording.

    :raises ValueError: If the row has both, or neither.
    """
    text, audio = (cells[column].strip() for column in ("text", "audio"))
    if text and audio:
        raise ValueError("text and audio are both given: leave one of them empty")
    if not text and not audio:
        raise ValueError("text and audio are both missing: give one of them")
    return cells["text"] if text else None


def unstorable_cells(cells: dict[str, str]) -> Iterable[str]:
    """Yield a fault for each cell that Airflow can't store. The fault does not repeat the raw character."""
    for column in COLUMNS:
        value = cells[column]
        if found := _UNSTORABLE.search(value):
            what = "a NUL (U+0000)" if found[0] == "\0" else f"a lone surrogate (U+{ord(found[0]):04X})"
            yield f"{column} holds {what} at position {found.start() + 1}: remove it"


def alike(name: str) -> str:
    """Return a name stripped, case-folded and NFC-normalized: names with equal results count as one."""
    return unicodedata.normalize("NFC", name).strip().casefold()
