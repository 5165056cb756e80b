"""Estimate what requests cost, and compare that with the limits, the balance, and the bill."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hedra_provider.api import calls
from hedra_provider.api.errors import HedraInsufficientCreditsError, HedraValueError
from hedra_provider.api.requests import find_model
from hedra_provider.records import CREDITS, USD, Balance
from hedra_provider.submission.pricing import (
    Estimate,
    Span,
    amount_text,
    estimate,
    price,
    spoken_seconds,
    uploaded_seconds,
)
from hedra_provider.submission.rates import RATES_DATE, RATES_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Model

_ASSETS_AT_ONCE = 100
"""Ids in one request: a URL has room for about 200."""

_DRIFT = Fraction(1, 10)
"""How far a cost may be from its estimate before it is worth a warning."""


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


@dataclass(frozen=True, kw_only=True)
class Limits:
    """
    The most that a request may cost, in each currency. A DAG for both kinds of key sets both.

    :param max_credits: The limit of a v2 key, in credits. Default: None.
    :param max_cost: The limit of a v3 key, in US dollars. Default: None.
    """

    max_credits: int | None = None
    max_cost: Decimal | int | None = None

    def of(self, currency: str) -> tuple[str, Decimal | int] | None:
        """
        Return the name and the value of the limit that counts.

        :param currency: What the key pays with: ``credits`` or ``USD``.
        :return: None without any limit.
        :raises HedraValueError: If only the limit in the other currency is given; it names the right one.
        """
        limits = {CREDITS: ("max_credits", self.max_credits), USD: ("max_cost", self.max_cost)}
        name, value = limits.pop(currency)
        if value is not None:
            return name, value
        ((other, other_value),) = limits.values()
        if other_value is None:
            return None
        version, unit = ("v2", "credits") if currency == CREDITS else ("v3", "US dollars")
        raise HedraValueError(
            f"{other} is given, but the connection's key is for API {version}, which is paid in {unit}.",
            param=other,
            remedy=f"Give {name}, in {unit}. A DAG that is to run with both kinds of key gives both: "
            "only the one that fits the key counts. Nothing was submitted.",
        )


def require_within(
    found: Estimate | None, limits: Limits | int, what: str, *, currency: str = CREDITS
) -> None:
    """
    Reject a request that may cost more than its limit.

    :param found: The estimate; its upper bound is compared. None if no estimate could be made.
    :param limits: The limits; a number is ``max_credits``.
    :param what: What is paid for, e.g. ``"this video"``; for the message.
    :param currency: What the key pays with, where there is no estimate. Default: ``credits``.
    :raises HedraValueError: If the upper bound is above the limit, if there is a limit and no estimate, or if
        only the limit in the other currency is given.
    """
    limits = limits if isinstance(limits, Limits) else Limits(max_credits=limits)
    limit = limits.of(found.currency if found else currency)
    if limit is None:
        return
    name, most = limit
    if found is None:
        in_credits = name == "max_credits"
        raise HedraValueError(
            f"{name} is {most}, but the cost of {what} can't be estimated: its model is not in "
            "the catalogue, its model publishes no price, or its length is not known."
            if in_credits
            else f"{name} is {most}, but the cost of {what} can't be estimated: the price of its model in "
            "its resolution is not known.",
            param=name,
            remedy=f"Set duration_ms, or leave {name} out. Nothing was submitted."
            if in_credits
            else f"Put the price into prices of the connection's extra, or leave {name} out. "
            "Nothing was submitted.",
        )
    if found.high > most:
        raise HedraValueError(
            f"{what} may cost {found}, {name} is {most}.",
            param=name,
            remedy=f"Raise {name}, or ask for less: shorter, or fewer pixels. Nothing was submitted.",
        )


def require_available(found: Estimate, available: int | None, workspace_id: str | None) -> None:
    """
    Reject a request that a balance in credits can't pay.

    :param found: The estimate; its upper bound is compared.
    :param available: Credits in the pool that pays; None if Hedra does not state them.
    :param workspace_id: The workspace that pays; None for the key's default one.
    :raises HedraInsufficientCreditsError: If fewer credits are available than the upper bound.
    """
    require_covered(found, Balance(available=available, currency=CREDITS, pool=pool_name(workspace_id)))


def require_covered(found: Estimate, balance: Balance) -> None:
    """
    Reject a request that the balance can't pay.

    :param found: The estimate; its upper bound is compared.
    :param balance: What the key can spend. Its ``pool`` begins the message.
    :raises HedraInsufficientCreditsError: If less is available than the upper bound.
    :raises ValueError: If the currencies differ.
    """
    if balance.currency != found.currency:
        raise ValueError(f"An estimate in {found.currency} can't be compared with {balance.currency}.")
    available = balance.available
    if available is None or found.high <= available:
        return
    in_credits = found.currency == CREDITS
    needed = str(found.high) if in_credits else str(Estimate(found.high, found.high, found.currency))
    raise HedraInsufficientCreditsError(
        f"{balance.pool} has {amount_text(available, balance.currency)}; up to {needed} are needed.",
        code="INSUFFICIENT_BALANCE",
        credits_needed=int(found.high) if in_credits else None,
        credits_available=int(available) if in_credits else None,
        remedy="Add credits, or check workspace_id. Nothing was submitted."
        if in_credits
        else "Add funds in Hedra's console. Nothing was submitted.",
    )


def cost_drift(found: Estimate | None, cost: Decimal | int | None) -> str | None:
    """
    Return a sentence for the log if a generation cost much more or much less than was estimated.

    :param found: The estimate; None if there was none.
    :param cost: What it cost, in the currency of the estimate; None if it is unknown. 0 is a refund.
    :return: None unless the cost is more than 10 % above the upper or below the lower bound.
    """
    if not found or not cost:
        return None
    exact = Fraction(cost)
    if exact > Fraction(found.high) * (1 + _DRIFT):
        side, bound = "above", Fraction(found.high)
    elif exact < Fraction(found.low) * (1 - _DRIFT):
        side, bound = "below", Fraction(found.low)
    else:
        return None
    share = f"{round(abs(exact - bound) / bound * 100)} % " if bound else ""
    start = f"It cost {amount_text(cost, found.currency)}, {share}{side} the estimate of {found}."
    if found.currency == CREDITS:
        return (
            f"{start} Hedra bills other prices than it publishes: give max_credits room for the difference."
        )
    return (
        f"{start} The rates of this provider ({RATES_SOURCE}, {RATES_DATE}) may be outdated: put the right "
        "US dollars per second into prices of the connection's extra."
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
