"""How a send ended, by its error."""

from __future__ import annotations

from hedra_provider.api.errors import HedraConflictError, HedraError, HedraRateLimitError, HedraTransportError
from hedra_provider.submission.v3.record import CONFLICT, NOT_SENT, RATE_LIMITED, REJECTED, UNKNOWN

_UNKNOWN_STATUSES = frozenset({408, 425})


def outcome_of(error: HedraError) -> str:
    """
    Return how a send ended.

    Only a 4xx says that Hedra rejected it. 408 and 425 do not; nor does an answer that is not what the API
    documents, or a redirect.

    :param error: The error of the send.
    :return: One of the outcomes of :class:`hedra_provider.submission.v3.record.Send`.
    """
    if isinstance(error, HedraTransportError):
        return UNKNOWN if error.request_sent else NOT_SENT
    if isinstance(error, HedraRateLimitError) or error.status_code == 429:
        return RATE_LIMITED
    if isinstance(error, HedraConflictError) or (error.code or "").startswith("ALREADY_"):
        return CONFLICT
    status = error.status_code or 0
    return REJECTED if 400 <= status < 500 and status not in _UNKNOWN_STATUSES else UNKNOWN
