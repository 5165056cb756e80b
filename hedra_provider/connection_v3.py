"""The extras of a connection that choose Hedra's API, and those that only v3 reads.

A connection with a v2 key may have the extras of v3 too: then a move to v3 changes the key alone.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import urlsplit

from hedra_provider.api.redaction import shown
from hedra_provider.api.v3.calls import KeyPlace
from hedra_provider.connection_labels import field_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hedra_provider.records import ApiVersion

Prices = dict[str, dict[str, Decimal]]

DEFAULT_KEY_PLACE: KeyPlace = "header"
"""Since version 3.17 of its schema, Hedra documents the header; before, a field of the body."""

DEFAULT_SPEECH_MODEL = "elevenlabs-v3"
"""The more expressive of the two documented speech models. Its texts have at most 5,000 characters;
``elevenlabs-flash-v2`` takes 30,000 (Hedra's schema 3.9.0)."""

MAX_REQUESTS_PER_MINUTE = 10_000


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _whole_number(value: Any) -> int | None:
    """Return a whole number, also from its text, as a form stores it; None if it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = value.strip() if isinstance(value, str) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def read_api_version(value: Any) -> ApiVersion | None:
    """
    Return the version of Hedra's API that the connection names; None if it names none.

    :param value: The extra ``api_version``.
    :raises HedraConfigurationError: If it is neither 2 nor 3.
    """
    if _is_empty(value):
        return None
    number = _whole_number(value)
    if number not in (2, 3):
        raise field_error(
            "api_version", f"is {shown(value)}", "Give 2 or 3, or leave it empty: the key decides then."
        )
    return cast("ApiVersion", number)


def read_state_path(value: Any) -> str | None:
    """
    Return where submits are recorded; None if the connection names no place. Nothing is opened.

    :param value: The extra ``state_path``.
    :raises HedraConfigurationError: If it is neither an absolute path nor a URI of object storage.
    """
    if _is_empty(value):
        return None
    example = "Give a URI, e.g. s3://my_conn@bucket/hedra, or an absolute path that all workers share."
    if not isinstance(value, str):
        raise field_error("state_path", "is no text", example)
    text = value.strip()
    fault = _path_fault(text)
    if fault:
        # A URI may hold a password, and shown() hides it.
        raise field_error("state_path", f"is {shown(text)}, which {fault}", example)
    return text


def _path_fault(text: str) -> str | None:
    """Return why a text is no place for records; None if it is one."""
    if not text.isprintable():
        return "holds characters that can't be printed"
    path = text
    if "://" in text:
        try:
            parts = urlsplit(text)
        except ValueError:
            return "is not a URI"
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*", parts.scheme):
            return "is not a URI"
        if ":" in parts.netloc.rpartition("@")[0]:
            return "holds a password; name an Airflow connection before the @ instead"
        if parts.query or parts.fragment or text[-1] in "?#":
            return "holds more than scheme, bucket and path"
        if not parts.netloc and parts.scheme not in ("file", "local"):
            return "names no bucket"
        path = parts.path
        if not parts.netloc and not path.startswith("/"):
            return "is no absolute path"
    elif not text.startswith("/"):
        return "is no absolute path: each worker would read another folder"
    return "holds '..'" if ".." in PurePosixPath(path).parts else None


def read_requests_per_minute(value: Any) -> int | None:
    """
    Return how many requests a minute all waits of a triggerer may send; None: half of Hedra's limit.

    :param value: The extra ``requests_per_minute``.
    :raises HedraConfigurationError: If it is no whole number from 1 to 10,000.
    """
    if _is_empty(value):
        return None
    number = _whole_number(value)
    if number is None or not 1 <= number <= MAX_REQUESTS_PER_MINUTE:
        example = f"Give a whole number from 1 to {MAX_REQUESTS_PER_MINUTE}, e.g. 30, or leave it empty."
        raise field_error("requests_per_minute", f"is {shown(value)}", example)
    return number


def read_idempotency(value: Any) -> KeyPlace:
    """
    Return where a submit carries its idempotency key: ``header``, ``body`` or ``both``.

    :param value: The extra ``idempotency``; ``header`` if it is empty.
    :raises HedraConfigurationError: If it is anything else.
    """
    if _is_empty(value):
        return DEFAULT_KEY_PLACE
    place = value.strip().lower() if isinstance(value, str) else None
    if place not in get_args(KeyPlace):
        raise field_error(
            "idempotency", f"is {shown(value)}", "Give header, body or both, or leave it empty for header."
        )
    return cast("KeyPlace", place)


def read_prices(value: Any) -> Prices:
    """
    Return the prices that replace those of the provider: USD per second, by model and resolution.

    :param value: The extra ``prices``: a JSON object, or its text, as a form stores it.
    :raises HedraConfigurationError: If it is no such object, or a price is not above 0.
    """
    if _is_empty(value):
        return {}
    example = 'Give USD per second, e.g. {"hedra-avatar": {"720p": 0.05}}, or leave it empty.'
    table = _table(value, example)
    return {
        model: {resolution: _price(model, resolution, price, example) for resolution, price in row.items()}
        for model, row in table.items()
    }


def _table(value: Any, example: str) -> Mapping[str, Mapping[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise field_error("prices", "is no JSON", example) from None
    if not isinstance(value, dict):
        raise field_error("prices", "is no JSON object", example)
    for model, row in value.items():
        if not model.strip() or not isinstance(row, dict) or not row:
            what = f"has no JSON object of resolutions for the model {shown(model, 100)}"
            raise field_error("prices", what, example)
    return value


def _price(model: str, resolution: str, value: Any, example: str) -> Decimal:
    try:
        is_number = isinstance(value, (int, float, str, Decimal)) and not isinstance(value, bool)
        price = Decimal(str(value).strip()) if is_number else Decimal("nan")
    except InvalidOperation:
        price = Decimal("nan")
    if not price.is_finite() or price <= 0:
        what = f"has the price {shown(value, 100)} for {shown(model, 100)} at {shown(resolution, 100)}"
        raise field_error("prices", what, example)
    return price


def read_speech_model(value: Any) -> str:
    """
    Return the model that speaks texts on v3.

    :param value: The extra ``speech_model``; :data:`DEFAULT_SPEECH_MODEL` if it is empty.
    :raises HedraConfigurationError: If it is no id of a model.
    """
    if _is_empty(value):
        return DEFAULT_SPEECH_MODEL
    model = value.strip() if isinstance(value, str) else ""
    # The id stands in the path of a submit, so it holds no other characters.
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,99}", model):
        raise field_error(
            "speech_model", f"is {shown(value)}", "Give a model's id, e.g. elevenlabs-flash-v2."
        )
    return model
