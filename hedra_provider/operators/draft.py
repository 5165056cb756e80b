"""A request that is ready to be submitted, and what a task keeps of it for a retry slot."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api.requests import batch_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hedra_provider.api.responses import Model
    from hedra_provider.submission.pricing import Span

MAX_KEPT_CHARACTERS = 20_000
"""Of a body that a trigger keeps: encrypted, MySQL's column holds 64 KB."""


@dataclass(frozen=True)
class Draft:
    """
    A request that is ready to be submitted, and what was learnt while it was made.

    :param body: The body, without ids; of a batch it has the ``batch_size``.
    :param catalogue: The account's models, where they were asked for.
    :param audio_seconds: How long its audio is: as measured, else as Hedra said. None: Hedra is asked.
    :param cost: What it costs by an estimate that was made, and compared with ``max_credits``, before.
    """

    body: Mapping[str, Any]
    catalogue: Sequence[Model] = ()
    audio_seconds: Span | None = None
    cost: str | None = None


def resume_state(draft: Draft | None, cost: str | None) -> dict[str, str | None]:
    """
    Return what a task leaves for its retry slot, so that the request is not made again.

    :param draft: What was to be submitted, None where it was not ready.
    :param cost: What it costs by the estimate.
    :return: ``request``, the body as JSON text, and ``cost``, what it costs by the estimate; or nothing.
    """
    request = json.dumps(dict(draft.body)) if draft else None
    if draft is None or request is None or len(request) > MAX_KEPT_CHARACTERS:
        return {}
    # Of a batch, another number of variations may be missing by then.
    return {"request": request, "cost": cost if batch_size(draft.body) == 1 else None}
