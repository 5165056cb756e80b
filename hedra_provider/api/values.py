"""Checks of single values, the same for every version of Hedra's API: ids, and what JSON can express."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_V3_ID = re.compile(r"(?:job|asset)_[\w-]{1,80}", re.ASCII)


def is_uuid(value: str) -> bool:
    """Return whether a text is a UUID in its form of 36 characters."""
    return _UUID.fullmatch(value) is not None


def require_json(value: Any, param: str, *, depth: int = 20) -> None:
    """
    Reject a value that can't be sent as JSON.

    :param value: The value to send.
    :param param: The parameter that it comes from, for messages.
    :param depth: Levels of nesting that are allowed, 20 by default.
    :raises HedraValueError: If it, or a value in it, has no JSON form; the error names the field.
    """
    wrong = None
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in ("" if value.isascii() else value)):
            wrong = "holds a lone surrogate, which UTF-8 can't encode"
    elif isinstance(value, float):
        wrong = None if math.isfinite(value) else "is not a number that JSON can express"
    elif isinstance(value, (Mapping, list, tuple)) and not depth:
        wrong = "is nested too deeply"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise HedraValueError(
                    f"{param}: the name of the field {shown(name)} is not a text.", param=param
                )
            require_json(name, f"{param}: a field's name", depth=depth)
            require_json(item, clean(name, max_length=100), depth=depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            require_json(item, param, depth=depth - 1)
    elif value is not None and not isinstance(value, int):
        wrong = f"is of type {type(value).__name__}, which JSON does not have"
    if wrong:
        raise HedraValueError(f"{param} {wrong}: {shown(value)}.", param=param, remedy="Nothing was sent.")


def require_id(value: Any, param: str) -> str:
    """
    Return the id of a generation or an asset, stripped of white space.

    :param value: The value of a parameter.
    :param param: The name of the parameter, for messages.
    :raises HedraValueError: If it is not a UUID (v2), nor ``job_...`` or ``asset_...`` (v3).
    """
    text = str(value).strip()
    if not (is_uuid(text) or _V3_ID.fullmatch(text)):
        raise HedraValueError(
            f"{param}: {shown(value)} is not a UUID (API v2), nor job_... or asset_... (API v3).",
            param=param,
            remedy="Give an id from Hedra or from the output of a task.",
        )
    return text
