"""Texts of others, made fit for a message, a log, an event or an XCom: one bounded line without secrets.

What an API, a proxy or a storage says may hold signed URLs, our own key, and characters that forge log
lines. Everything that is shown of theirs passes here.
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
"""Characters; a shorter "key" is no secret, and hiding it would tear words apart."""

_MAX_READ = 100_000
_MAX_CODE_LENGTH = 100
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_HIDDEN = "***"

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*\x07?)")
_DIRECTIONS = dict.fromkeys((0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_WORD = re.compile(r"[^\s\"'<>`]+")
# From the start of a word only, and bounded: what is searched may be a hundred thousand letters long.
_USERINFO = re.compile(
    r"(?<!\w)(\w*)(://|%(?:25)*3a(?:%(?:25)*2f){2})([^/?#\\]{0,1000}(?:@|%(?:25)*40))", re.IGNORECASE
)
# Without it there is no userinfo, and nothing to look for at every scheme of a long word.
_AT = re.compile(r"@|%(?:25)*40", re.IGNORECASE)
# A question mark, plain or encoded once or more, and behind it a "=" (which encodes the same way).
_QUERY_MARK = re.compile(r"\?|%(?:25)*3f|\\u003f|\\x3f", re.IGNORECASE)
_EQUALS = re.compile(r"=|%(?:25)*3d|\\u003d|\\x3d", re.IGNORECASE)
_SIGNATURES = (
    r"(?:x-(?:amz|goog|ms)-(?:signature|credential|security-token)|awsaccesskeyid|googleaccessid|key-pair-id"
    r"|signatureprovided|signature|sig|policy|access_token|x-api-key|api_?key)"
)
# A parameter by itself, where its URL was taken apart: in a header, a JSON object, S3's XML.
_PARAMETER = re.compile(
    rf"(?<![a-z0-9_-])({_SIGNATURES})(=|%(?:25)*3d|[\"']\s*:\s*[\"']|>)[^\s&\"'<>,;)}}\]]+", re.IGNORECASE
)


class HiddenText(str):
    """A text that is used as any other, but does not show itself where a traceback lists values."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def clean(text: str, *, key: str | None = None, max_length: int = MAX_MESSAGE_LENGTH) -> str:
    """
    Return the text as one line of bounded length without secrets and without control characters.

    URLs lose user names, passwords and whatever follows their question mark; so do parameters that sign a
    URL where they stand by themselves.

    :param text: What somebody else said.
    :param key: The API key, hidden in the forms of :func:`hide_key`.
    :param max_length: Characters to keep.
    """
    cut = len(text) > _MAX_READ
    line = hide_key(text, key) if key else text
    if cut:
        # Whole words only: half of a secret is known by nothing.
        line = line[:_MAX_READ].rpartition(" ")[0]
    # JSON may write a slash with a backslash before it, and an ampersand by its number.
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
    """Return a code or a field's name of an answer, cleaned and short; None stays None."""
    if text is None or (key is None and _PLAIN_CODE.fullmatch(text)):
        return text
    return clean(text, key=key, max_length=_MAX_CODE_LENGTH)


def cleaned(value: Any, *, depth: int = 4) -> Any:
    """
    Return JSON with all its texts cleaned as :func:`clean` does, names of fields too.

    :param depth: Levels that are kept; what lies deeper is dropped, as is all but the first 50 of many.
    """
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        items = list(value.items())[:50]
        return {clean(str(k)): cleaned(v, depth=depth - 1) for k, v in items} if depth else None
    if isinstance(value, list):
        return [cleaned(item, depth=depth - 1) for item in value[:50]] if depth else None
    # A database may refuse what JSON in the strict sense can't say.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def shown(value: Any, max_length: int = 200) -> str:
    """Return a value of the user's for a message: its ``repr``, bounded and cleaned."""
    text = repr(value[:_MAX_READ] if isinstance(value, str) else value)
    return clean(text, max_length=max_length)


def fit_cause(error: BaseException) -> BaseException | None:
    """
    Return what ``raise ... from`` may name as the cause; None where its own words hold what is to be hidden.

    Airflow logs the whole chain of causes.
    """
    seen: BaseException | None = error
    while seen is not None:
        said = str(seen)
        if len(said) > MAX_MESSAGE_LENGTH or clean(said) != " ".join(said.split()):
            return None
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return error


def hide_key(text: str, key: str) -> str:
    """
    Return the text without the key: as it is, broken over lines, encoded for a URL, or in base64.

    :param key: The API key.
    """
    return text if len(key) < SHORTEST_KEY else _key_pattern(key).sub(_HIDDEN, text)


def hide_key_in_bytes(content: bytes, key: str) -> bytes:
    """Return an answer's body without the key, before anything is made of it."""
    if len(key) < SHORTEST_KEY:
        return content
    for form in {key, *_encoded(key)}:
        content = content.replace(form.encode("utf-8", "replace"), _HIDDEN.encode())
    return content


@lru_cache(maxsize=16)
def _key_pattern(key: str) -> re.Pattern[str]:
    # White space, also as JSON or repr writes it: a message that was wrapped.
    gap = r"(?:\s|\\[nrt])*"
    whole = gap.join(re.escape(character) for character in key)
    return re.compile("|".join([whole, *(re.escape(form) for form in _encoded(key))]))


@lru_cache(maxsize=16)
def _encoded(key: str) -> tuple[str, ...]:
    """Return the key as others may write it down; a base64 of more than the key has one of three forms."""
    raw = key.encode("utf-8", "replace")
    forms = {quote(key, safe=""), quote_plus(key), key.replace("/", "\\/"), raw.hex()}
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw).decode()
        # The characters at the edges depend on what stands beside the key.
        forms.add(whole[(0, 2, 3)[shift] : (len(raw) + shift) * 8 // 6])
    forms |= {form.replace("+", "-").replace("/", "_") for form in forms if "%" not in form}
    return tuple(sorted(forms - {key}, key=len, reverse=True))


def _without_secrets(found: re.Match[str]) -> str:
    """Return a word without a URL's userinfo and query."""
    word = found[0]
    if _AT.search(word):
        word = _USERINFO.sub(_without_userinfo, word)
    mark = _QUERY_MARK.search(word)
    # Plain prose asks questions too: without a parameter behind it, it is none of a URL's.
    if mark and ("://" in word[: mark.start()] or _EQUALS.search(word, mark.end())):
        return word[: mark.start()] + "?..." if mark.end() < len(word) else word
    return word


def _without_userinfo(found: re.Match[str]) -> str:
    scheme, separator, userinfo = found.groups()
    # s3://conn_id@bucket names a connection, which is no secret and helps.
    is_secret = scheme.lower() in ("http", "https") or ":" in userinfo or "%3a" in userinfo.lower()
    return f"{scheme}{separator}" if is_secret else found[0]


def _shown(character: str) -> str:
    """Return a character, or what stands for one that a log or a database must not get."""
    if character.isprintable():
        return character
    kind = unicodedata.category(character)
    if kind == "Cs":
        return "�"
    # Format characters (Cf) join emoji; private and unassigned ones (Co, Cn) do nobody harm.
    return " " if kind in ("Cc", "Zl", "Zp", "Zs") else character
