"""The errors of this package, as a tree.

::

    HedraError
      + HedraValueError            bad input, rejected before anything was sent (also a ValueError)
      + HedraConfigurationError    the Airflow connection or the environment has a wrong setting
      + HedraTransportError        no answer: timeout, reset connection, DNS, TLS
      + HedraProtocolError         an answer that is not what the API documents
      + HedraTransferError         a file did not arrive whole
      + HedraStateError            what is paid for can't be recorded, read or proved
      + HedraWaitTimeoutError      the generation was still running at the deadline
      + HedraGenerationError       the generation ended in ``error``
      + HedraAPIError              the API answered with an error status
          + HedraBadRequestError           400, 413, 422 and other 4xx
          + HedraAuthenticationError       401
          + HedraInsufficientCreditsError  402
          + HedraPermissionError           403
          + HedraNotFoundError             404, 410
          + HedraConflictError             409
          + HedraRateLimitError            429
          + HedraServerError               5xx

An error is retryable if a retry without any change may succeed. Its ``reason_code`` decides, then its
``code``, then the ``retryable`` of a v3 answer, then the HTTP status; never the text. Codes and reason codes
are those of Hedra's schemas (v2: ErrorCode, GenerationReasonCode; v3: ErrorCode, and the ``reason`` of a
field). MISSING_CREDITS is the older name of INSUFFICIENT_BALANCE.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RETRYABLE_REASONS = {
    "MODERATION_OUTPUT_TRANSIENT": True,
    "MODERATION_LIKENESS": False,
    "expired": True,
    "external_url_rejected": False,
}
RETRYABLE_CODES = {
    "UNKNOWN": True,
    "INVALID_ARGUMENT": False,
    "NOT_FOUND": False,
    "GONE": False,
    "ALREADY_EXISTS": True,
    "ALREADY_IN_PROGRESS": True,
    "UNAUTHORIZED": False,
    "PERMISSION_DENIED": False,
    "INSUFFICIENT_BALANCE": False,
    "MISSING_CREDITS": False,
    "MODERATION_FAILED": False,
    "FAILED_PRECONDITION": False,
    "CANCELLED": False,
    "DEADLINE_EXCEEDED": True,
    "RESOURCE_EXHAUSTED": True,
    "UNAVAILABLE": True,
    "INTERNAL": True,
}
MAX_ERROR_LENGTH = 3_000
"""Characters of an error's text. The API's text in it is cut to 600 characters before."""

_RETRYABLE_STATUSES = {408, 409, 425, 429}

_ADD_CREDITS = "Add credits, or check workspace_id: a wrong one bills another pool."
_REASON_REMEDIES = {
    "MODERATION_OUTPUT_TRANSIENT": "Moderation rejected this output only; another attempt may succeed.",
    "MODERATION_LIKENESS": "Change the image or video, not the prompt: moderation rejected its likeness.",
    "expired": "The upload has expired: it lives one hour. The next attempt uploads the file again.",
    "external_url_rejected": "Upload the file: Hedra takes only the handle of an upload, unchanged.",
}
TRY_AGAIN = "Temporary: try again later."
"""The remedy of a temporary error. In a task's message, the time of Airflow's next try replaces it."""

_ALREADY_THERE = f"{TRY_AGAIN} The next attempt finds what exists."
_FROM_THE_KEY = "Check the API key (the connection's password): v2 keys come from hedra.com/api-profile."
_MAY_NOT = "The key may not do this: check workspace_id and the plan (API access needs a paid one)."
_WHOSE = "Check the id, and that the connection's key and workspace own it."
_SLOW_DOWN = "Wait, or run fewer tasks at once with an Airflow pool."
_CODE_REMEDIES = {
    "UNKNOWN": TRY_AGAIN,
    "INVALID_ARGUMENT": "Correct the request; Hedra rejects the same request every time.",
    "NOT_FOUND": _WHOSE,
    "GONE": "It is gone: upload or generate it again.",
    "ALREADY_EXISTS": _ALREADY_THERE,
    "ALREADY_IN_PROGRESS": _ALREADY_THERE,
    "UNAUTHORIZED": _FROM_THE_KEY,
    "PERMISSION_DENIED": _MAY_NOT,
    "INSUFFICIENT_BALANCE": _ADD_CREDITS,
    "MISSING_CREDITS": _ADD_CREDITS,
    "MODERATION_FAILED": "Change the prompt, image or audio that moderation rejected; a retry can't succeed.",
    "FAILED_PRECONDITION": "First do what the message names, e.g. finish an upload.",
    "CANCELLED": "Find out who cancelled the job; clear the task to submit it again.",
    "DEADLINE_EXCEEDED": TRY_AGAIN,
    "RESOURCE_EXHAUSTED": _SLOW_DOWN,
    "UNAVAILABLE": TRY_AGAIN,
    "INTERNAL": TRY_AGAIN,
}
_STATUS_REMEDIES = {
    400: "Correct the request.",
    401: _FROM_THE_KEY,
    402: _ADD_CREDITS,
    403: _MAY_NOT,
    404: _WHOSE,
    408: TRY_AGAIN,
    409: _ALREADY_THERE,
    410: "It is gone: upload or generate it again.",
    413: "Send a smaller file.",
    422: "Correct the request.",
    425: TRY_AGAIN,
    429: _SLOW_DOWN,
    500: TRY_AGAIN,
    502: TRY_AGAIN,
    503: TRY_AGAIN,
    504: TRY_AGAIN,
}
_V3_KEY = "Check the API key (the connection's password): v3 keys come from Hedra's console."
_V3_SCOPES = "The key may not do this: check its scopes and the plan (API access needs a paid one)."
_V3_FUNDS = "Add funds to the account that the key bills."
_V3_GONE = "It is gone: choose another model, or upload the file again."
V3_REMEDIES: dict[str | int, str] = {
    "UNAUTHORIZED": _V3_KEY,
    "PERMISSION_DENIED": _V3_SCOPES,
    "INSUFFICIENT_BALANCE": _V3_FUNDS,
    "GONE": _V3_GONE,
    "NOT_FOUND": "Check the id, and that the owner of the connection's key owns it.",
    401: _V3_KEY,
    402: _V3_FUNDS,
    403: _V3_SCOPES,
    404: "Check the id, and that the owner of the connection's key owns it.",
    410: _V3_GONE,
}
"""The remedies of v3 where they differ: it has no workspaces in a request, and other keys."""

OTHER_VERSION_REMEDY = (
    "The key is a v{key} key ({shape}), but the request went to v{address} of Hedra's API. Correct the "
    "connection's api_version and host, or leave both empty: then the key decides."
)
"""Of a rejected key that is for the other version. The client knows both, so this is certain."""

REJECTED_CERTIFICATE_REMEDY = (
    "Check the connection's host and proxy. If your own CA signs the certificate, put the path of its CA "
    "bundle into the connection's verify."
)
"""The remedy for a TLS certificate that can't be verified. The error stays retryable: one bad server behind a
load balancer must not end a wait for a paid generation."""

STRICT_CERTIFICATE_REMEDY = (
    "Let the CA issue its own certificate and the server's again, with the extensions that RFC 5280 asks "
    "for: Subject Key Identifier, Authority Key Identifier, Key Usage, and critical Basic Constraints. Put "
    "the new CA certificate into the CA bundle. Until then run Airflow on Python 3.12 or older: it does not "
    "check them."
)
"""Of a TLS certificate that only the strict checks of Python 3.13 and later reject."""


class HedraError(Exception):
    """
    The base of all errors of this package.

    :param message: What happened, in one line.
    :param status_code: HTTP status of the answer, if there was one.
    :param code: Hedra's error code (``error.type`` or ``error_code``), e.g. ``INSUFFICIENT_BALANCE``.
    :param reason_code: Hedra's finer code, e.g. ``MODERATION_LIKENESS``.
    :param param: The field or argument that is wrong.
    :param violations: Every bad field as ``{"field", "message"}``, on v3 also ``reason`` and ``allowed``;
        empty by default. ``details`` is the same.
    :param retryable: Whether a retry without any change may succeed; by default the class decides.
    :param retry_after: Seconds until a retry, as the API asked.
    :param generation_id: The generation concerned.
    :param credits_needed: Credits that the request would have cost.
    :param credits_available: Credits that were available.
    :param replaced_by: The model to use in place of a retired one (v3).
    :param billing: What a request lacked: ``balance``, ``required``, ``currency``, ``funding_url`` (v3).
    :param trace_id: Hedra's id of the failed request, for its support (v3).
    :param remedy: What the reader can do, in one line; by default the class's own if the error is retryable.
    """

    default_retryable = False
    default_remedy: str | None = None

    depends_on_worker = False
    """Whether the task may succeed on another worker: only some workers have the file, folder or package."""

    outcome_unknown = False
    """Whether the outcome of a submit is unknown: Hedra may have accepted it, so it may be paid for."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        reason_code: str | None = None,
        param: str | None = None,
        violations: Sequence[Mapping[str, Any]] = (),
        retryable: bool | None = None,
        retry_after: float | None = None,
        generation_id: str | None = None,
        credits_needed: int | None = None,
        credits_available: int | None = None,
        replaced_by: str | None = None,
        billing: Mapping[str, Any] | None = None,
        trace_id: str | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.reason_code = reason_code
        self.param = param
        self.violations = tuple(violations)
        self.retryable = self.default_retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.generation_id = generation_id
        self.credits_needed = credits_needed
        self.credits_available = credits_available
        self.replaced_by = replaced_by
        self.billing = dict(billing) if billing else None
        self.trace_id = trace_id
        self.remedy = remedy or (self.default_remedy if self.retryable else None)

    @property
    def details(self) -> tuple[Mapping[str, Any], ...]:
        """Every bad field, by v3's name: the same as ``violations``."""
        return self.violations

    def __str__(self) -> str:
        return self.sentences(self.remedy)

    def sentences(self, remedy: str | None, *facts: str) -> str:
        """
        Return the whole message in one line: the reason, the remedy, then the ids in brackets.

        :param remedy: What the reader can do; ``self.remedy`` or a more specific one.
        :param facts: Shown in the brackets, before the status and the generation's id.
        """
        # The trigger event of an older version has the remedy in its message already.
        parts = [self.message, remedy if remedy and remedy not in self.message else None]
        text = join_sentences(*parts)
        ids = [*facts]
        # "answered 404", "(404)": a number elsewhere may be part of a file's name.
        if self.status_code and not re.search(rf"(?:answered |HTTP |\(){self.status_code}\b", text):
            ids.append(f"HTTP {self.status_code}")
        if self.generation_id and self.generation_id not in text:
            ids.append(f"generation {self.generation_id}")
        if self.trace_id and self.trace_id not in text:
            ids.append(f"trace {self.trace_id}")
        end = f" ({', '.join(ids)})" if ids else ""
        room = MAX_ERROR_LENGTH - len(end)
        return (text if len(text) <= room else text[: room - 3] + "...") + end


class HedraValueError(HedraError, ValueError):
    """Bad input, found before anything was sent."""


class HedraConfigurationError(HedraError):
    """The Airflow connection, or the environment of its client, has a wrong setting."""


class HedraTransportError(HedraError):
    """
    No answer came: timeout, reset connection, DNS or TLS failure.

    :param message: What happened, in one line.
    :param request_sent: Whether the request may have reached Hedra; True by default.
    :param facts: The other parameters of :class:`HedraError`.
    """

    default_retryable = True
    default_remedy = f"{TRY_AGAIN} If this repeats, check the connection's host, proxy and timeout."

    def __init__(self, message: str, *, request_sent: bool = True, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.request_sent = request_sent


class HedraProtocolError(HedraError):
    """The answer is not what the API documents, e.g. not JSON."""

    default_retryable = True
    default_remedy = f"{TRY_AGAIN} If this repeats, check that the connection's host is Hedra's API."


class HedraTransferError(HedraError):
    """A file did not arrive whole, in either direction."""

    default_retryable = True
    default_remedy = TRY_AGAIN


class HedraExpiredError(HedraTransferError):
    """The file of a result is lost: Hedra keeps it for a time only (v3), and that is over."""

    default_retryable = False


class HedraStateError(HedraError):
    """
    The record of a v3 submit can't be written or read, or does not decide what is paid for.

    Nothing was submitted after it. ``outcome_unknown`` says whether an earlier submit may be paid for.
    """


class HedraWaitTimeoutError(HedraError):
    """The generation was still running when the wait's deadline came."""

    default_retryable = True


class HedraGenerationError(HedraError):
    """The generation ended in ``error``."""


class HedraAPIError(HedraError):
    """The API answered with an error status."""


class HedraBadRequestError(HedraAPIError):
    """400, 413, 422 or another 4xx: Hedra rejects this request."""


class HedraAuthenticationError(HedraAPIError):
    """401: the key is unknown."""


class HedraInsufficientCreditsError(HedraAPIError):
    """402: the pool or account that pays has too little."""


class HedraPermissionError(HedraAPIError):
    """403: the key may not do this."""


class HedraNotFoundError(HedraAPIError):
    """404 or 410: it does not exist for this key."""


class HedraConflictError(HedraAPIError):
    """409: the id is taken."""


class HedraRateLimitError(HedraAPIError):
    """429: too many requests, or too many parallel generations."""


class HedraServerError(HedraAPIError):
    """5xx: Hedra failed, perhaps after it had executed the request."""


def join_sentences(*parts: str | None) -> str:
    """Return the parts that are not empty, joined; a full stop ends each without other punctuation."""
    texts = [part.strip() for part in parts if part and part.strip()]
    return " ".join(text if text.endswith((".", "!", "?")) else f"{text}." for text in texts)


def is_retryable(
    reason_code: str | None, code: str | None, status_code: int | None, stated: bool | None = None
) -> bool:
    """
    Return whether an error is retryable. The most specific known fact decides.

    :param reason_code: Hedra's reason code, which decides first.
    :param code: Hedra's error code, which decides second.
    :param status_code: The HTTP status, which decides last; without one, True.
    :param stated: ``retryable`` of a v3 answer, which decides third; None by default.
    """
    if reason_code in RETRYABLE_REASONS:
        return RETRYABLE_REASONS[reason_code]
    if code in RETRYABLE_CODES:
        return RETRYABLE_CODES[code]
    if stated is not None:
        return stated
    if status_code is None:
        return True
    return status_code in _RETRYABLE_STATUSES or status_code >= HTTPStatus.INTERNAL_SERVER_ERROR


def remedy_for(
    reason_code: str | None, code: str | None, status_code: int | None, version: int = 2
) -> str | None:
    """
    Return what the reader can do about an error, in one line.

    :param reason_code: Hedra's reason code, used first.
    :param code: Hedra's error code, used second.
    :param status_code: The HTTP status, used last.
    :param version: The version of Hedra's API that answered; 2 by default.
    :return: None if none of them is known.
    """
    of_version = V3_REMEDIES if version == 3 else {}
    known = (
        _REASON_REMEDIES.get(reason_code or "")
        or of_version.get(code or "")
        or _CODE_REMEDIES.get(code or "")
        or of_version.get(status_code or "")
    )
    if known or status_code is None:
        return known
    # A status without a remedy of its own has that of 400 or 500.
    return _STATUS_REMEDIES.get(status_code) or _STATUS_REMEDIES.get(min(status_code // 100, 5) * 100)


def hedra_error(exception: BaseException | None) -> HedraError | None:
    """
    Return the error of the API that made a task fail, e.g. for an ``on_failure_callback``.

    :param exception: ``context["exception"]``.
    :return: The error; None if another error failed the task.
    """
    while exception is not None and not isinstance(exception, HedraError):
        exception = exception.__cause__ or exception.__context__
    return exception
