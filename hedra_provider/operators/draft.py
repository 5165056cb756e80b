"""What a task keeps of its request while it waits for a retry slot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hedra_provider.service.protocol import Draft

MAX_KEPT_CHARACTERS = 20_000
"""Of a request that a trigger keeps: encrypted, MySQL's column holds 64 KB."""


def resume_state(draft: Draft | None, cost: str | None) -> dict[str, str | None]:
    """
    Return what a task leaves for its retry slot, so that the request is not made again.

    :param draft: What was to be submitted, None where it was not ready.
    :param cost: What it costs by the estimate.
    :return: ``request``, the draft as a text, and ``cost``, what it costs by the estimate; or nothing.
    """
    request = draft.kept() if draft else None
    if draft is None or request is None or len(request) > MAX_KEPT_CHARACTERS:
        return {}
    # Of a batch, another number of variations may be missing by then.
    return {"request": request, "cost": cost if draft.variations == 1 else None}
