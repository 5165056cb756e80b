"""Convert error answers into the errors of :mod:`hedra_provider.api.errors`.

Hedra's error bodies have several shapes. All that are read here were seen from the real API.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import (
    OTHER_VERSION_REMEDY,
    RETRYABLE_REASONS,
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
from hedra_provider.api.keys import key_in, version_of_address, version_of_key
from hedra_provider.api.rate_limit import retry_after_seconds, seconds_until_reset
from hedra_provider.api.redaction import clean, clean_code
from hedra_provider.records import version_of_id

if TYPE_CHECKING:
    import httpx

    from hedra_provider.records import Generation

_BILLING_FIELDS = ("balance", "required", "currency", "funding_url", "reason")
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
    violations: tuple[dict[str, Any], ...] = field(default=())
    credits_needed: int | None = None
    credits_available: int | None = None
    retryable: bool | None = None
    retry_after: float | None = None
    replaced_by: str | None = None
    billing: dict[str, Any] | None = None
    trace_id: str | None = None

    def remedy(self, status: int | None, version: int) -> str | None:
        """
        Return what the reader can do.

        :param status: The HTTP status; None without one.
        :param version: The version of Hedra's API.
        """
        if self.replaced_by:
            return f"Use model {self.replaced_by}: it replaces the retired one."
        usual = remedy_for(self.reason_code, self.code, status, version)
        place = (self.billing or {}).get("funding_url")
        return f"Add funds at {place}" if place else usual


def read_error_body(body: Any, *, key: str | None = None) -> ErrorFacts:
    """
    Read an error body.

    :param body: The decoded JSON: FastAPI's ``detail`` (list or text), ``messages``, ``error_code`` with
        credits, ``error`` as an object (v3's envelope, too) or a text, or a mixture.
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
        v for layer in layers for name in ("violations", "details") for v in _violations(layer.get(name))
    )
    code = _first(layers, _text, "error_code", "code") or _first(layers[:-1] or layers, _text, "type")
    param = _first(layers, _text, "param") or (violations[0]["field"] if violations else None)
    return ErrorFacts(
        message=clean(_message(body, violations) or "", key=key) or None,
        code=clean_code(code, key=key),
        reason_code=clean_code(_reason_code(layers, violations), key=key),
        param=clean_code(param, key=key),
        violations=tuple(_without_secrets(violation, key) for violation in violations),
        credits_needed=_first(layers, _whole_number, "credits_needed"),
        credits_available=_first(layers, _whole_number, "credits_available"),
        retryable=_first(layers, _flag, "retryable"),
        retry_after=_first(layers, _seconds, "retry_after"),
        replaced_by=clean_code(_first(layers, _text, "replaced_by"), key=key),
        billing=_first(layers, lambda value: _billing(value, key), "billing"),
        trace_id=clean_code(_first(layers, _text, "trace_id"), key=key),
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
    key = key_in(request.headers)
    facts = read_error_body(body, key=key)
    version = 3 if "Authorization" in request.headers else 2
    after = retry_after_seconds(response)
    if after is None:
        after = facts.retry_after
    if after is None and status == HTTPStatus.TOO_MANY_REQUESTS:
        after = seconds_until_reset(response)
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
        retryable=is_retryable(facts.reason_code, facts.code, status, facts.retryable),
        retry_after=after,
        generation_id=generation_id,
        credits_needed=facts.credits_needed,
        credits_available=facts.credits_available,
        replaced_by=facts.replaced_by,
        billing=facts.billing,
        trace_id=facts.trace_id or clean_code(response.headers.get("X-Trace-Id"), key=key),
        remedy=_other_version(request, key, status) or facts.remedy(status, version),
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
        retryable=is_retryable(facts.reason_code, facts.code, None, facts.retryable),
        generation_id=generation_id,
        credits_needed=facts.credits_needed,
        credits_available=facts.credits_available,
        replaced_by=facts.replaced_by,
        billing=facts.billing,
        remedy=facts.remedy(None, version_of_id(generation_id) or 2),
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


def _violation_text(violation: Mapping[str, Any]) -> str:
    name, message = violation["field"], violation["message"]
    # Some messages of v3 begin with the field.
    text = message if not name or message.startswith(name) else f"{name}: {message}"
    allowed = [one for one in violation.get("allowed", ()) if one not in message]
    return f"{text} (allowed: {', '.join(allowed)})" if allowed else text


def _message(body: Mapping[str, Any], violations: Sequence[Mapping[str, Any]]) -> str | None:
    fields = "; ".join(map(_violation_text, violations))
    if isinstance(body.get("detail"), list) and violations:
        return fields
    error = body.get("error")
    if fields and isinstance(error, Mapping) and isinstance(error.get("details"), list):
        message = _text(error.get("message")) or ""
        return fields if not message or message in fields else f"{message.rstrip('.')}: {fields}"
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


def _violations(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        return ()
    found: list[dict[str, Any]] = []
    for item in value[:50]:
        if not isinstance(item, Mapping):
            continue
        loc = item.get("loc")
        places = [p for p in loc[:20] if p != "body"] if isinstance(loc, list) else [item.get("field")]
        message = _as_text(item.get("msg")) or _as_text(item.get("message"))
        if message:
            found.append({"field": ".".join(filter(None, map(_as_text, places))), "message": message})
            if reason := _text(item.get("reason")):
                found[-1]["reason"] = reason
            allowed = item.get("allowed")
            if isinstance(allowed, list) and allowed:
                found[-1]["allowed"] = list(filter(None, map(_as_text, allowed[:50])))
    return tuple(found)


def _reason_code(layers: Sequence[Mapping[str, Any]], violations: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the reason code; on v3 that of a field, if it has a remedy of its own."""
    reasons = [violation.get("reason") for violation in violations]
    of_a_field = next((reason for reason in reasons if reason in RETRYABLE_REASONS), None)
    return _first(layers, _text, "reason_code") or of_a_field


def _without_secrets(violation: Mapping[str, Any], key: str | None) -> dict[str, Any]:
    return {
        name: clean(value, key=key) if isinstance(value, str) else [clean(one, key=key) for one in value]
        for name, value in violation.items()
    }


def _billing(value: Any, key: str | None) -> dict[str, Any] | None:
    """Return what a request lacked, with numbers and clean texts only."""
    if not isinstance(value, Mapping):
        return None
    found = {
        name: clean(one, key=key) if isinstance(one, str) else _amount(one)
        for name, one in ((name, value.get(name)) for name in _BILLING_FIELDS)
    }
    return {name: one for name, one in found.items() if one is not None} or None


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


def _amount(value: Any) -> int | float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and abs(value) < 10**12 else None


def _seconds(value: Any) -> float | None:
    amount = _amount(value)
    return None if amount is None or not math.isfinite(amount) else min(max(float(amount), 0.0), 86_400.0)


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _is_known(status: int) -> bool:
    return status in HTTPStatus._value2member_map_


def _other_version(request: httpx.Request, key: str, status: int) -> str | None:
    """Return the remedy of a key that is for the other version of Hedra's API; None if it is for this one."""
    address = version_of_address(request)
    of_key = version_of_key(key)
    if not key or of_key == address or status not in (401, 403, 404):
        return None
    shape = "with a colon" if of_key == 3 else "without a colon"
    return OTHER_VERSION_REMEDY.format(key=of_key, shape=shape, address=address)


def _shortfall(facts: ErrorFacts) -> str:
    if facts.billing:
        currency = facts.billing.get("currency") or "USD"
        known = [(name, facts.billing[name]) for name in ("balance", "required") if name in facts.billing]
        amounts = [f"{name}: {amount} {currency}" for name, amount in known]
        return f" ({', '.join(amounts)})" if amounts else ""
    if facts.credits_needed is None and facts.credits_available is None:
        return ""
    needed = "unknown" if facts.credits_needed is None else facts.credits_needed
    available = "unknown" if facts.credits_available is None else facts.credits_available
    return f" (credits needed: {needed}, available: {available})"
