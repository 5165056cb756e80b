"""Read a table and check all of its rows before anything is uploaded or spent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hedra_provider.exceptions import as_airflow_errors, not_retryable
from hedra_provider.storage import open_source
from hedra_provider.tables.columns import RowChecker, RowFaults, TableRow
from hedra_provider.tables.parse import decode_table, parse_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

MAX_NAMED_FAULTS = 1000
"""The message names so many faults at most, even if every row of a long table is wrong."""


def read_table(table: str, inputs: str | None = None, hedra_conn_id: str = "hedra_default") -> list[TableRow]:
    """
    Return the checked rows of a table, with voice ids in place of names and full paths of files.

    Columns: ``name`` and ``portrait``; ``text`` and ``voice``, or ``audio``; optionally ``language``. The
    table is UTF-8: CSV (comma, semicolon or tab; the first line names the columns), a JSON array, or one JSON
    object on each line.

    :param table: A path that the worker can read, or a URI that ObjectStoragePath opens.
    :param inputs: The folder of portraits and recordings, as path or URI. By default, and if empty, the
        folder of the table.
    :param hedra_conn_id: The Airflow connection of the account that has the voices; ``hedra_default`` by
        default.
    :return: One dict for each row, see :class:`hedra_provider.tables.columns.TableRow`. XCom can hold it.
    :raises AirflowFailException: If the table can't be read, has no rows, or has faults; the message names
        the line of each fault.
    :raises AirflowException: If Hedra or the storage did not answer; a retry may help.
    """
    from hedra_provider.api.redaction import clean
    from hedra_provider.hooks import HedraHook

    with as_airflow_errors():
        with open_source(table, "table") as (file, _):
            content = file.read()
        voices = [(voice.id, voice.name or "") for voice in HedraHook(hedra_conn_id).list_voices()]
        folder = (inputs or "").strip().rstrip("/") or table.rpartition("/")[0] or "."
        try:
            rows, faults = check_table(content, voices, folder, require_file)
        except ValueError as error:
            rows, faults = [], [str(error)]
    if faults or not rows:
        named = [clean(fault) for fault in faults[:MAX_NAMED_FAULTS]] or ["it has no rows"]
        if len(faults) > len(named):
            named.append(f"and {len(faults) - MAX_NAMED_FAULTS} more faults")
        raise not_retryable(
            "\n".join([f"The table {clean(table)} can't be used; nothing was uploaded or spent.", *named])
        )
    log.info("Read %d rows from %s; all of them can be made.", len(rows), clean(table))
    return rows


def check_table(
    content: bytes,
    voices: Iterable[tuple[str, str]],
    folder: str,
    require_file: Callable[[str, str], None],
) -> tuple[list[TableRow], list[str]]:
    """
    Return the valid rows of a table, and the faults of the others, each with its line.

    :param content: The table's bytes.
    :param voices: Id and name of each voice of the account.
    :param folder: The folder of inputs, without a slash at its end.
    :param require_file: Called with a path or URI and its column; raises ValueError, with the reason, if
        there is no such file.
    :return: The rows, and the faults.
    :raises ValueError: If the content is not a table.
    """
    checker = RowChecker(voices, folder, require_file)
    rows: list[TableRow] = []
    faults: list[str] = []
    for row in parse_table(decode_table(content)):
        try:
            rows.append(checker.check(row))
        except RowFaults as error:
            faults += (f"{row.place}: {fault}" for fault in error.faults)
    return rows, faults


def require_file(uri: str, column: str) -> None:
    """
    Check that a file can be opened.

    :param uri: The file's path or URI.
    :param column: The column that names it, for the message.
    :raises ValueError: With the reason, if it can't be opened.
    :raises HedraTransferError: If the storage did not answer; a retry may help.
    """
    from hedra_provider.api.errors import HedraValueError

    try:
        with open_source(uri, column):
            pass
    except HedraValueError as error:
        raise ValueError(error.message.rstrip(".")) from None
