"""Estimate what requests cost, and compare that with ``max_credits`` and the balance."""

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
"""Ids in one request: a URL has room for about 200."""


def estimate_request(
    body: Mapping[str, Any], *, catalogue: Sequence[Model] = (), audio_seconds: Span | None = None
) -> Call[Estimate | None]:
    """
    Estimate what a request will cost.

    :param body: The body of ``POST /generations``.
    :param catalogue: The account's models; by default they are requested from Hedra.
    :param audio_seconds: The measured length of its audio in seconds; by default Hedra is asked.
    :return: The estimate in credits; None if it can't be made.
    :raises HedraError: If Hedra could not be asked.
    """
    models = catalogue or (yield from calls.list_models())
    stated = {} if audio_seconds else (yield from _stated_lengths([body]))
    return _estimated(body, models, stated, audio_seconds)


def estimate_requests(
    bodies: Sequence[Mapping[str, Any]], *, catalogue: Sequence[Model]
) -> Call[list[Estimate | None]]:
    """
    Estimate what requests will cost, with one HTTP request for the lengths of up to 100 audios.

    :param bodies: Bodies of ``POST /generations``.
    :param catalogue: The account's models.
    :return: An estimate in credits for each body; None where it can't be made.
    :raises HedraError: If Hedra could not be asked.
    """
    stated = yield from _stated_lengths(bodies)
    return [_estimated(body, catalogue, stated, None) for body in bodies]


def _stated_lengths(bodies: Iterable[Mapping[str, Any]]) -> Call[dict[str, int | None]]:
    """Return the length of each audio that the requests name, in milliseconds, as Hedra states it."""
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
    Reject a request that may cost more than ``max_credits``.

    :param found: The estimate; its upper bound is compared. None if no estimate could be made.
    :param max_credits: The most credits that may be spent.
    :param what: What the credits are for, e.g. ``"this video"``; for the message.
    :raises HedraValueError: If the upper bound is above ``max_credits``, or there is no estimate.
    """
    if found is None:
        raise HedraValueError(
            f"max_credits is {max_credits}, but the cost of {what} can't be estimated: its model is not in "
            "the catalogue, its model publishes no price, or its length is not known.",
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
    Reject a request that the balance can't pay.

    :param found: The estimate; its upper bound is compared.
    :param available: Credits in the pool that pays; None if Hedra does not state them.
    :param workspace_id: The workspace that pays; None for the key's default one.
    :raises HedraInsufficientCreditsError: If fewer credits are available than the upper bound.
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
    """Return the name of the pool that pays, for messages."""
    return f"Workspace {workspace_id}" if workspace_id else "The key's default workspace"


def _dearest_speech(models: Sequence[Model], wanted: Mapping[str, Any]) -> Model | None:
    """Return the speech model that costs most for a text: Hedra does not say which one is its default."""
    if not wanted.get("text"):
        return None
    longest = spoken_seconds(str(wanted["text"])).high
    speech = [model for model in models if model.type == "text_to_speech"]
    return max(speech, key=lambda model: price(model.pricing or {}, longest, {}) or 0, default=None)
