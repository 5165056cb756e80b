"""Search for secrets in everything that an Airflow keeps: database, logs, files; encoded ones too."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import zlib
from configparser import ConfigParser
from contextlib import closing, suppress
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, quote_plus

from cryptography.fernet import Fernet, InvalidToken

_FERNET_TOKEN = re.compile(rb"gAAAAA[A-Za-z0-9_=-]{40,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{24,}={0,2}")
# A signature that signs: the ones that we cut read "X-Amz-Signature=..." or are gone.
SIGNED = re.compile(
    rb"(?:x-(?:amz|goog)-(?:signature|credential)|\bsignature|\bsig)(?:=|%3d)(?!\.\.\.)[^\s&\"'<>\\]{4,}",
    re.IGNORECASE,
)


@lru_cache
def forms(secret: str) -> frozenset[bytes]:
    """Return a secret as it may be written down; its base64 is found by decoding, see `unwrapped`."""
    written = {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        quote(quote(secret, safe=""), safe=""),
        json.dumps(secret)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        repr(secret)[1:-1],
        secret.encode().hex(),
        secret[::-1],
    }
    return frozenset(form.lower().encode() for form in written)


def unwrapped(content: bytes) -> list[bytes]:
    """Return the content, and what is hidden in it by base64 or compression."""
    found = [content]
    with suppress(zlib.error):
        found.append(zlib.decompress(content))
    for run in _BASE64.findall(content):
        standard = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):
            piece = standard[start:]
            with suppress(ValueError):
                found.append(base64.b64decode(piece[: len(piece) // 4 * 4]))
    return found


def leaks_in(content: bytes, secrets: list[str], where: str) -> list[str]:
    """Return where a content holds one of the secrets, or anything that signs a URL."""
    return [f"{where}: {what}" for what in _leaks(content, tuple(secrets))]


# Most of what an Airflow keeps stays as it was from one run to the next.
@lru_cache(maxsize=20_000)
def _leaks(content: bytes, secrets: tuple[str, ...]) -> tuple[str, ...]:
    needles = {form: secret for secret in secrets for form in forms(secret)}
    found = []
    for layer in unwrapped(content):
        lower = layer.lower()
        found += [f"{secret[:4]}..." for form, secret in needles.items() if form in lower]
        found += [f"{match[0][:40]!r}" for match in SIGNED.finditer(layer)]
    return tuple(found)


def rows(database: Path) -> list[tuple[str, bytes]]:
    """Return every value of every column of every table, as bytes, with its place."""
    found: list[tuple[str, bytes]] = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            name = table.decode()
            cursor = connection.execute(f'SELECT * FROM "{name}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor:
                for column, value in zip(columns, row, strict=True):
                    if value is not None:
                        content = value if isinstance(value, bytes) else str(value).encode()
                        found.append((f"{name}.{column}", content))
    return found


def search_for_secrets(home: Path, secrets: list[str], *, also: str = "") -> list[str]:
    """
    Search the metadata database and all files of an Airflow home.

    :param home: AIRFLOW_HOME; its database is SQLite.
    :param secrets: Besides signatures of URLs, which are found by their form.
    :param also: More text, e.g. what a process printed.
    :return: Where something was found. Columns that Airflow encrypts are decrypted.
    """
    places = rows(home / "airflow.db")
    assert {"serialized_dag.data", "task_instance.state"} <= {where for where, _ in places}, "nothing ran"
    places += [
        (str(path.relative_to(home)), path.read_bytes())
        for path in home.rglob("*")
        if path.is_file() and not path.name.startswith("airflow.") and path.suffix != ".pyc"
    ]
    places.append(("output", also.encode("utf-8", "surrogateescape")))
    config = ConfigParser(interpolation=None, strict=False)
    config.read(home / "airflow.cfg")
    key = config.get("core", "fernet_key", fallback="")
    found = []
    for where, content in places:
        found += leaks_in(content, secrets, where)
        for token in _FERNET_TOKEN.findall(content) if key else ():
            with suppress(InvalidToken, ValueError):
                found += leaks_in(Fernet(key).decrypt(token), secrets, f"{where} (decrypted)")
    return sorted(set(found))


def forget(dag_id: str, home: Path) -> None:
    """Take away what a DAG that leaks on purpose has left."""
    with closing(sqlite3.connect(home / "airflow.db")) as connection, connection:
        for table in ("xcom", "rendered_task_instance_fields"):
            connection.execute(f"DELETE FROM {table} WHERE dag_id = ?", (dag_id,))
