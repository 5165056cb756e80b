"""Make foreign texts safe for messages, logs, events and XComs: one bounded line without secrets.

A text from an API, a proxy or a storage may hold signed URLs, the API key, and characters that forge log
lines. Every such text passes through this module before it is shown.
"""

from __future__ import annotations

import base64
import math
import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MAX_MESSAGE_LENGTH = 600
SHORTEST_KEY = 6
"""Characters. A shorter key is not hidden: it is no real key, and may be part of ordinary words."""

_MAX_READ = 100_000
_MAX_CODE_LENGTH = 100
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_HIDDEN = "***"

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*\x07?)")
_DIRECTIONS = dict.fromkeys((0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_WORD = re.compile(r"[^\s\"'<>`]+")
# From the start of a word only, and bounded: the text may have a hundred thousand characters.
_USERINFO = re.compile(
    r"(?<!\w)(\w*)(://|%(?:25)*3a(?:%(?:25)*2f){2})([^/?#\\]{0,1000}(?:@|%(?:25)*40))", re.IGNORECASE
)
# Without an "@" there is no userinfo: this quick test saves the search at every scheme of a long word.
_AT = re.compile(r"@|%(?:25)*40", re.IGNORECASE)
# A question mark and, after it, an equals sign; both plain or encoded once or more.
_QUERY_MARK = re.compile(r"\?|%(?:25)*3f|\\u003f|\\x3f", re.IGNORECASE)
_EQUALS = re.compile(r"=|%(?:25)*3d|\\u003d|\\x3d", re.IGNORECASE)
_SIGNATURES = (
    r"(?:x-(?:amz|goog|ms)-(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid|key-pair-id"
    r"|signatureprovided|signature|sig|policy|access_token|x-api-key|api_?key)"
)
# A signing parameter outside of a URL: in a header, a JSON object, S3's XML.
_PARAMETER = re.compile(
    rf"(?<![a-z0-9_-])({_SIGNATURES})(=|%(?:25)*3d|[\"']\s*:\s*[\"']|>)[^\s&\"'<>,;)}}\]]+", re.IGNORECASE
)


class HiddenText(str):
    """A text whose repr is ``'***'``: a traceback that lists local values does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def clean(text: str, *, key: str | None = None, max_length: int = MAX_MESSAGE_LENGTH) -> str:
    """
    Return the text as one line of bounded length without secrets and without control characters.

    URLs lose their user name, password and query. Parameters that sign a URL lose their values outside of
    URLs too.

    :param text: A foreign text.
    :param key: The API key, removed as by :func:`hide_key`; None by default.
    :param max_length: Characters to keep, 600 by default.
    """
    cut = len(text) > _MAX_READ
    line = hide_key(text, key) if key else text
    if cut:
        # Whole words only: the patterns below would not recognise a part of a secret.
        line = line[:_MAX_READ].rpartition(" ")[0]
    # JSON may write a slash as \/ and an ampersand as \u0026.
    line = _ANSI.sub("", line.replace("\\/", "/").replace("\\u0026", "&")).translate(_DIRECTIONS)
    line = "".join(map(_shown, line)) if not line.isprintable() else line
    line = " ".join(_PARAMETER.sub(r"\1\2...", _WORD.sub(_without_secrets, line)).split())
    if len(line) > max_length or cut:
        line = line[: max_length - 3] + "..."
    return line


def words_of(error: BaseException) -> str:
    """Return what an error says, cleaned, without a full stop at its end; its type where it says nothing."""
    return clean(str(error)).rstrip(".") or type(error).__name__


def clean_code(text: str | None, *, key: str | None = None) -> str | None:
    """
    Return a code or a field name from an answer, cleaned and cut to 100 characters.

    :param text: The code; None gives None.
    :param key: The API key, removed as by :func:`hide_key`; None by default.
    """
    if text is None or (key is None and _PLAIN_CODE.fullmatch(text)):
        return text
    return clean(text, key=key, max_length=_MAX_CODE_LENGTH)


def cleaned(value: Any, *, depth: int = 4) -> Any:
    """
    Return JSON with all its texts and field names cleaned by :func:`clean`.

    :param value: Decoded JSON.
    :param depth: Levels to keep, 4 by default; deeper values become None. Of each level, 50 items are kept.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        items = list(value.items())[:50]
        return {clean(str(k)): cleaned(v, depth=depth - 1) for k, v in items} if depth else None
    if isinstance(value, list):
        return [cleaned(item, depth=depth - 1) for item in value[:50]] if depth else None
    # Strict JSON has no NaN and no Infinity, and a database may reject them.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown(value: Any, max_length: int = 200) -> str:
    """
    Return a value from the user for a message: its ``repr``, cleaned.

    :param value: Anything.
    :param max_length: Characters to keep, 200 by default.
    """
    text = repr(value[:_MAX_READ] if isinstance(value, str) else value)
    return clean(text, max_length=max_length)


def fit_cause(error: BaseException) -> BaseException | None:
    """
    Return the cause for ``raise ... from``, because Airflow logs the whole chain of causes.

    :param error: The caught error.
    :return: The error; None if its text, or the text of one of its own causes, is long or holds a secret.
    """
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause)
        if len(text) > MAX_MESSAGE_LENGTH or clean(text) != " ".join(text.split()):
            return None
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return error


def hide_key(text: str, key: str) -> str:
    """
    Return the text without the key, whether plain, broken over lines, URL-encoded, in hex or in base64.

    Of a v3 key, both parts are removed too: the key id and the secret.

    :param text: The text.
    :param key: The API key.
    """
    for part in _parts(key):
        text = _key_pattern(part).sub(_HIDDEN, text)
    return text


def hide_key_in_bytes(content: bytes, key: str) -> bytes:
    """Return the body of an answer without the key, before it is parsed."""
    for part in _parts(key):
        for form in {part, *_encoded(part)}:
            content = content.replace(form.encode("utf-8", "replace"), _HIDDEN.encode())
    return content


def _parts(key: str) -> list[str]:
    """Return what is secret in a key, the longest first: the whole, and the two parts of a v3 key."""
    parts = {HiddenText(part) for part in (key, *key.split(":", 1))}
    return sorted((part for part in parts if len(part) >= SHORTEST_KEY), key=len, reverse=True)


@lru_cache(maxsize=16)
def _key_pattern(key: str) -> re.Pattern[str]:
    # A wrapped message has white space in the key, plain or escaped as in JSON or repr.
    gap = r"(?:\s|\\[nrt])*"
    whole = gap.join(re.escape(character) for character in key)
    return re.compile("|".join([whole, *(re.escape(form) for form in _encoded(key))]))


@lru_cache(maxsize=16)
def _encoded(key: str) -> tuple[str, ...]:
    """Return the encoded forms of the key. In the base64 of a longer text it has one of three forms."""
    raw = key.encode("utf-8", "replace")
    forms = {quote(key, safe=""), quote_plus(key), key.replace("/", "\\/"), raw.hex()}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw).decode()
        # The first and last characters depend on the text around the key.
        forms.add(whole[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6])
    forms |= {form.replace("+", "-").replace("/", "_") for form in forms if "%" not in form}
    return tuple(sorted(forms - {key}, key=len, reverse=True))


def _without_secrets(found: re.Match[str]) -> str:
    """Return a word without a URL's userinfo and query."""
    word = found[0]
    if _AT.search(word):
        word = _USERINFO.sub(_without_userinfo, word)
    mark = _QUERY_MARK.search(word)
    # Prose has question marks too. Only one with "://" before it or "=" after it begins a query.
    if mark and ("://" in word[: mark.start()] or _EQUALS.search(word, mark.end())):
        return word[: mark.start()] + "?..." if mark.end() < len(word) else word
    return word


def _without_userinfo(found: re.Match[str]) -> str:
    scheme, separator, userinfo = found.groups()
    # s3://conn_id@bucket names a connection, which is no secret and helps.
    is_secret = scheme.lower() in ("http", "https") or ":" in userinfo or "%3a" in userinfo.lower()
    return f"{scheme}{separator}" if is_secret else found[0]


def _shown(character: str) -> str:
    """Return a character, or its replacement if it is unsafe in a log or a database."""
    if character.isprintable():
        return character
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "�"
    # Format characters (Cf) join emoji; private and unassigned ones (Co, Cn) are harmless.
    return " " if kind in ("Cc", "Zl", "Zp", "Zs") else character
