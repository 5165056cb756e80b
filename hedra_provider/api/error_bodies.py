"""From an answer that says no to the error to raise.

Hedra's error bodies come in several shapes (all of them seen of the real API); this module reads them all.
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
    """What an error body says, whichever of Hedra's shapes it has."""

    message: str | None = None
    code: str | None = None
    reason_code: str | None = None
    param: str | None = None
    violations: tuple[dict[str, str], ...] = field(default=())
    credits_needed: int | None = None
    credits_available: int | None = None


def read_error_body(body: Any, *, key: str | None = None) -> ErrorFacts:
    """
    Read any of the error bodies that were seen of Hedra.

    :param body: The decoded JSON: FastAPI's ``detail`` (list or text), ``messages``, ``error_code`` with
        credits, ``error`` as an object or a text, or a mixture.
    :param key: The API key, which no fact shall hold.
    :return: The facts found, cleaned; all of them None where the body holds none.
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
        violations=tuple({name: clean(said, key=key) for name, said in v.items()} for v in violations),
        credits_needed=_first(layers, _whole_number, "credits_needed"),
        credits_available=_first(layers, _whole_number, "credits_available"),
    )


def error_from_response(response: httpx.Response, *, generation_id: str | None = None) -> HedraAPIError:
    """
    Turn an answer with an error status into the error to raise.

    The API's own words are kept, cut to a bounded length and cleaned of the key and of signed URLs.

    :param response: The whole answer.
    :param generation_id: The generation that the request was about.
    """
    status = response.status_code
    request = response.request
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        # As UTF-8 whatever charset is said: some names that Python knows decode no bytes ("hex", "idna").
        body = response.content.decode("utf-8", "replace")
    facts = read_error_body(body, key=request.headers.get("X-API-Key"))
    kind = _CLASS_OF_STATUS.get(status) or (HedraServerError if status >= 500 else HedraBadRequestError)
    if kind is HedraBadRequestError and facts.code in ("INSUFFICIENT_BALANCE", "MISSING_CREDITS"):
        kind = HedraInsufficientCreditsError
    said = facts.message or (HTTPStatus(status).phrase if _is_known(status) else "no words")
    return kind(
        f"Hedra answered {status} to {request.method} {request.url.path}: {said}{_shortfall(facts)}",
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
    :param error_message: The answer's ``error_message``, used where ``error`` is missing.
    """
    facts = read_error_body({"error": error} if error else {"message": error_message})
    said = facts.message or clean(error_message or "") or "Hedra gave no reason"
    codes = ", ".join(code for code in (facts.code, facts.reason_code) if code)
    return HedraGenerationError(
        f"The generation failed: {said}{_shortfall(facts)}{f' [{codes}]' if codes else ''}",
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
    Build the error of generations of which some ended in ``error``: of one, or of a batch.

    :param generations: All of them, those that are complete too.
    :return: The error of the one that failed; of several, one that no retry can help comes first.
    """
    errors = [generation_error(one.id, one.error, one.error_message) for one in generations if one.is_failed]
    error = min(errors, key=lambda one: one.retryable)
    if len(generations) > 1:
        how_many = f"{len(errors)} of {len(generations)} variations failed"
        error.message = error.message.replace("The generation failed", how_many, 1)
    return error


def retry_after_seconds(response: httpx.Response) -> float | None:
    """Return the seconds of a Retry-After header (a number or a date), None without a usable one."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
            said = parsedate_to_datetime(response.headers["Date"])
            seconds = (at - said).total_seconds()
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
        texts = [_words(m.get("message") if isinstance(m, Mapping) else m) for m in messages[:20]]
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
        message = _words(item.get("msg")) or _words(item.get("message"))
        if message:
            found.append({"field": ".".join(filter(None, map(_words, places))), "message": message})
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


def _words(value: Any) -> str:
    """Return a text or a number as text; to write out what is nested deeply may overflow the stack."""
    return str(value) if isinstance(value, (str, int, float)) else ""


def _whole_number(value: Any) -> int | None:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    # Beyond that it counts nothing, and fills a message.
    return value if is_number and abs(value) < 10**15 else None


def _is_known(status: int) -> bool:
    return status in HTTPStatus._value2member_map_


def _shortfall(facts: ErrorFacts) -> str:
    if facts.credits_needed is None and facts.credits_available is None:
        return ""
    needed = "unknown" if facts.credits_needed is None else facts.credits_needed
    there = "unknown" if facts.credits_available is None else facts.credits_available
    return f" (credits needed: {needed}, available: {there})"
