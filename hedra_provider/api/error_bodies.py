"""Convert error answers into the errors of :mod:`hedra_provider.api.errors`.

Hedra's error bodies have several shapes. All that are read here were seen from the real API.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import (
    HedraAPIError,
    HedraAuthenticationError,
    HedraBadRequestError,
    HedraConflictError,
    HedraGenerationError,
    HedraInsufficientCreditsError,
    HedraNotFoundError,
    HedraPermissionError,
    HedraRateLimitError,
    HedraServerError,
    is_retryable,
    remedy_for,
)
from hedra_provider.api.keys import key_in
from hedra_provider.api.redaction import clean, clean_code

if TYPE_CHECKING:
    import httpx

    from hedra_provider.api.responses import Generation

_CLASS_OF_STATUS: dict[int, type[HedraAPIError]] = {
    401: HedraAuthenticationError,
    402: HedraInsufficientCreditsError,
    403: HedraPermissionError,
    404: HedraNotFoundError,
    409: HedraConflictError,
    410: HedraNotFoundError,
    429: HedraRateLimitError,
}


@dataclass(frozen=True)
class ErrorFacts:
    """The facts of an error body, whatever its shape."""

    message: str | None = None
    code: str | None = None
    reason_code: str | None = None
    param: str | None = None
    violations: tuple[dict[str, str], ...] = field(default=())
    credits_needed: int | None = None
    credits_available: int | None = None


def read_error_body(body: Any, *, key: str | None = None) -> ErrorFacts:
    """
    Read an error body.

    :param body: The decoded JSON: FastAPI's ``detail`` (list or text), ``messages``, ``error_code`` with
        credits, ``error`` as an object or a text, or a mixture.
    :param key: The API key, to be removed from all facts; None by default.
    :return: The facts, cleaned; None for each that the body lacks.
    """
    if isinstance(body, str):
        return ErrorFacts(message=clean(body, key=key) or None)
    if not isinstance(body, Mapping):
        return ErrorFacts()
    detail, error = body.get("detail"), body.get("error")
    layers = [layer for layer in (error, detail, body) if isinstance(layer, Mapping)]
    violations = _violations(detail) + tuple(
        v for layer in layers for v in _violations(layer.get("violations"))
    )
    code = _first(layers, _text, "error_code", "code") or _first(layers[:-1] or layers, _text, "type")
    param = _first(layers, _text, "param") or (violations[0]["field"] if violations else None)
    return ErrorFacts(
        message=clean(_message(body, violations) or "", key=key) or None,
        code=clean_code(code, key=key),
        reason_code=clean_code(_first(layers, _text, "reason_code"), key=key),
        param=clean_code(param, key=key),
        violations=tuple({name: clean(text, key=key) for name, text in v.items()} for v in violations),
        credits_needed=_first(layers, _whole_number, "credits_needed"),
        credits_available=_first(layers, _whole_number, "credits_available"),
    )


def error_from_response(response: httpx.Response, *, generation_id: str | None = None) -> HedraAPIError:
    """
    Convert an answer with an error status into the error to raise.

    The error holds the API's own text, without the key and signed URLs, and of bounded length.

    :param response: The answer, read to its end.
    :param generation_id: The generation that the request was about; None by default.
    :return: The error.
    """
    status = response.status_code
    request = response.request
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        # As UTF-8, whatever charset is declared: Python has codecs that decode no bytes ("hex", "idna").
        body = response.content.decode("utf-8", "replace")
    facts = read_error_body(body, key=key_in(request.headers))
    kind = _CLASS_OF_STATUS.get(status) or (HedraServerError if status >= 500 else HedraBadRequestError)
    if kind is HedraBadRequestError and facts.code in ("INSUFFICIENT_BALANCE", "MISSING_CREDITS"):
        kind = HedraInsufficientCreditsError
    text = facts.message or (HTTPStatus(status).phrase if _is_known(status) else "no reason")
    return kind(
        f"Hedra answered {status} to {request.method} {request.url.path}: {text}{_shortfall(facts)}",
        status_code=status,
        code=facts.code,
        reason_code=facts.reason_code,
        param=facts.param,
        violations=facts.violations,
        retryable=is_retryable(facts.reason_code, facts.code, status),
        retry_after=retry_after_seconds(response),
        generation_id=generation_id,
        credits_needed=facts.credits_needed,
        credits_available=facts.credits_available,
        remedy=remedy_for(facts.reason_code, facts.code, status),
    )


def generation_error(generation_id: str, error: Any, error_message: str | None) -> HedraGenerationError:
    """
    Build the error of a generation that ended in ``error``.

    :param generation_id: The generation.
    :param error: The answer's ``error``: an object, a text or None.
    :param error_message: The answer's ``error_message``, used if ``error`` is missing.
    :return: The error.
    """
    facts = read_error_body({"error": error} if error else {"message": error_message})
    text = facts.message or clean(error_message or "") or "Hedra gave no reason"
    codes = ", ".join(code for code in (facts.code, facts.reason_code) if code)
    return HedraGenerationError(
        f"The generation failed: {text}{_shortfall(facts)}{f' [{codes}]' if codes else ''}",
        code=facts.code,
        reason_code=facts.reason_code,
        param=facts.param,
        violations=facts.violations,
        retryable=is_retryable(facts.reason_code, facts.code, None),
        generation_id=generation_id,
        credits_needed=facts.credits_needed,
        credits_available=facts.credits_available,
        remedy=remedy_for(facts.reason_code, facts.code, None),
    )


def failures_error(generations: Sequence[Generation]) -> HedraGenerationError:
    """
    Build the error of a generation, or a batch, that ended in ``error``.

    :param generations: All variations, the complete ones too.
    :return: The error of one failed variation; one that is not retryable has precedence.
    """
    errors = [generation_error(one.id, one.error, one.error_message) for one in generations if one.is_failed]
    error = min(errors, key=lambda one: one.retryable)
    if len(generations) > 1:
        how_many = f"{len(errors)} of {len(generations)} variations failed"
        error.message = error.message.replace("The generation failed", how_many, 1)
    return error


def retry_after_seconds(response: httpx.Response) -> float | None:
    """
    Read the Retry-After header: a number of seconds, or a date.

    :param response: The answer.
    :return: Seconds, at most a day; None without a valid header.
    """
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
            sent = parsedate_to_datetime(response.headers["Date"])
            seconds = (at - sent).total_seconds()
        except (TypeError, ValueError, KeyError, OverflowError):
            return None
    return min(max(seconds, 0.0), 86_400.0) if seconds == seconds else None


def _message(body: Mapping[str, Any], violations: Sequence[Mapping[str, str]]) -> str | None:
    if isinstance(body.get("detail"), list) and violations:
        return "; ".join(f"{v['field']}: {v['message']}" if v["field"] else v["message"] for v in violations)
    candidates: list[Any] = [body.get("error"), body.get("detail"), body]
    for candidate in candidates:
        if isinstance(candidate, str) and candidate:
            return candidate
        if isinstance(candidate, Mapping):
            for key in ("message", "msg", "error_message", "title"):
                if isinstance(candidate.get(key), str) and candidate[key]:
                    return str(candidate[key])
    messages = body.get("messages")
    if isinstance(messages, list) and messages:
        texts = [_as_text(m.get("message") if isinstance(m, Mapping) else m) for m in messages[:20]]
        return "; ".join(filter(None, texts)) or None
    return None


def _violations(value: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(value, list):
        return ()
    found = []
    for item in value[:50]:
        if not isinstance(item, Mapping):
            continue
        loc = item.get("loc")
        places = [p for p in loc[:20] if p != "body"] if isinstance(loc, list) else [item.get("field")]
        message = _as_text(item.get("msg")) or _as_text(item.get("message"))
        if message:
            found.append({"field": ".".join(filter(None, map(_as_text, places))), "message": message})
    return tuple(found)


def _first(layers: Sequence[Mapping[str, Any]], read: Any, *names: str) -> Any:
    for layer in layers:
        for name in names:
            value = read(layer.get(name))
            if value is not None:
                return value
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _as_text(value: Any) -> str:
    """Return a text or a number as text, anything else as "": str() of deep nesting overflows the stack."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def _whole_number(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    # A larger number can't be a number of credits, and would fill the message.
    return value if is_number and abs(value) < 10**15 else None


def _is_known(status: int) -> bool:
    return status in HTTPStatus._value2member_map_


def _shortfall(facts: ErrorFacts) -> str:
    if facts.credits_needed is None and facts.credits_available is None:
        return ""
    needed = "unknown" if facts.credits_needed is None else facts.credits_needed
    available = "unknown" if facts.credits_available is None else facts.credits_available
    return f" (credits needed: {needed}, available: {available})"
