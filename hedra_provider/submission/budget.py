"""Ask Hedra what is needed to price requests, and compare the price with what may be spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraInsufficientCreditsError, HedraValueError
from hedra_provider.api.requests import find_model
from hedra_provider.submission.pricing import (
    Estimate,
    Span,
    estimate,
    price,
    spoken_seconds,
    uploaded_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Model

_ASSETS_AT_ONCE = 100
"""Ids in one question: a URL has room for about 200."""


def estimate_request(
    body: Mapping[str, Any], *, catalogue: Sequence[Model] = (), audio_seconds: Span | None = None
) -> Call[Estimate | None]:
    """
    Estimate what a request will cost.

    :param body: The body of ``POST /generations``.
    :param catalogue: The account's models; asked for where it is not given.
    :param audio_seconds: How long its audio is, where that was measured; else Hedra is asked.
    :return: None where it can't be told.
    """
    models = catalogue or (yield from calls.list_models())
    stated = {} if audio_seconds else (yield from _stated_lengths([body]))
    return _estimated(body, models, stated, audio_seconds)


def estimate_requests(
    bodies: Sequence[Mapping[str, Any]], *, catalogue: Sequence[Model]
) -> Call[list[Estimate | None]]:
    """
    Estimate what requests will cost, with one question for the lengths of many audios.

    :param bodies: Bodies of ``POST /generations``.
    :param catalogue: The account's models.
    :return: An estimate for each body, None where it can't be told.
    """
    stated = yield from _stated_lengths(bodies)
    return [_estimated(body, catalogue, stated, None) for body in bodies]


def _stated_lengths(bodies: Iterable[Mapping[str, Any]]) -> Call[dict[str, int | None]]:
    """Return what Hedra says of the lengths of the audios that requests name."""
    ids = list(dict.fromkeys(body["audio_id"] for body in bodies if isinstance(body.get("audio_id"), str)))
    lengths: dict[str, int | None] = {}
    for start in range(0, len(ids), _ASSETS_AT_ONCE):
        for asset in (yield from calls.list_assets("audio", ids[start : start + _ASSETS_AT_ONCE])):
            lengths[asset.id] = asset.asset.duration_ms if asset.asset else None
    return lengths


def _estimated(
    body: Mapping[str, Any],
    models: Sequence[Model],
    stated: Mapping[str, int | None],
    measured: Span | None,
) -> Estimate | None:
    named = str(body.get("model_slug") or body.get("ai_model_id") or body.get("model_id") or "")
    model = find_model(named, models) if named else _dearest_speech(models, body)
    if model is None:
        return None
    spoken = body.get("audio_generation") or {}
    speech = find_model(str(spoken.get("model_slug") or ""), models) or _dearest_speech(models, spoken)
    seconds = measured or uploaded_seconds(stated.get(str(body.get("audio_id"))), model)
    return estimate(body, model, audio_seconds=seconds, speech=speech)


def require_within(found: Estimate | None, max_credits: int, what: str) -> None:
    """
    Refuse what may cost more than it may.

    :param found: The estimate, judged by its top; None where it can't be told.
    :param max_credits: The most that may be spent.
    :param what: What is to be paid for, for the message.
    :raises HedraValueError: With the estimate, the limit and what to do.
    """
    if found is None:
        raise HedraValueError(
            f"max_credits is {max_credits}, but what {what} will cost can't be told: its model is not in the "
            "catalogue, publishes no price, or no length is known.",
            param="max_credits",
            remedy="Set duration_ms, or leave max_credits out. Nothing was submitted.",
        )
    if found.high > max_credits:
        raise HedraValueError(
            f"{what} may cost {found}, max_credits is {max_credits}.",
            param="max_credits",
            remedy="Raise max_credits, or ask for less: shorter, or fewer pixels. Nothing was submitted.",
        )


def require_available(found: Estimate, available: int | None, workspace_id: str | None) -> None:
    """
    Refuse what the balance can't pay.

    :raises HedraInsufficientCreditsError: With what is needed and what is there.
    """
    if available is not None and found.high > available:
        raise HedraInsufficientCreditsError(
            f"{pool_name(workspace_id)} has {available} credits; up to {found.high} are needed.",
            code="INSUFFICIENT_BALANCE",
            credits_needed=found.high,
            credits_available=available,
            remedy="Add credits, or check workspace_id. Nothing was submitted.",
        )


def pool_name(workspace_id: str | None) -> str:
    """Return how messages call the pool that is billed."""
    return f"Workspace {workspace_id}" if workspace_id else "The key's default workspace"


def _dearest_speech(models: Sequence[Model], wanted: Mapping[str, Any]) -> Model | None:
    """Return the speech model that costs most for a text: which one Hedra takes by itself it does not say."""
    if not wanted.get("text"):
        return None
    longest = spoken_seconds(str(wanted["text"])).high
    speech = [model for model in models if model.type == "text_to_speech"]
    return max(speech, key=lambda model: price(model.pricing or {}, longest, {}) or 0, default=None)
