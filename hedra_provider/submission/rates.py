"""What a video costs on v3: US dollars per second of the video, and the price of its speech.

Hedra's v3 publishes no price that a program can read, and ``POST /models/{model}/estimate`` does not estimate
avatar models, because their price is the length of the audio. So this table holds what users of Hedra saw on
their bills. The connection's ``prices`` overrule it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from hedra_provider.api.errors import HedraConfigurationError
from hedra_provider.api.redaction import shown
from hedra_provider.records import USD
from hedra_provider.submission.pricing import (
    LONGEST_SECONDS,
    UNKNOWN_SECONDS,
    Estimate,
    Span,
    read_number,
    spoken_seconds,
    usd,
)

RATES_SOURCE = "costs that users observed"
"""Where the rates come from: jobs that were paid, not a price list of Hedra's."""

RATES_DATE = "November 2026"
"""When the rates were written down."""

_AVATAR = {"540p": Decimal("0.025"), "720p": Decimal("0.05"), "1080p": Decimal("0.0625")}

USD_PER_SECOND: Mapping[str, Mapping[str, Decimal]] = {"hedra-avatar": _AVATAR, "hedra-character-3": _AVATAR}
"""US dollars per second, by model and resolution."""

Prices = Mapping[str, Mapping[str, Any]]
"""US dollars per second, by model and resolution, as the connection's ``prices`` has them."""


def usd_per_second(model: str, resolution: str, prices: Prices | None = None) -> Fraction | None:
    """
    Return the price of a second.

    :param model: The model, as v3 names it, e.g. ``hedra-avatar``.
    :param resolution: E.g. ``720p``.
    :param prices: The connection's ``prices``, which overrule the table; they may name a model in short, e.g.
        ``avatar``. Default: None, the table alone.
    :return: US dollars; None if neither has this model in this resolution.
    :raises HedraConfigurationError: If the price in ``prices`` is not a number of at least 0.
    """
    named = prices or {}
    # Operators take the short name, avatar, so prices may use it too.
    own = named.get(model, named.get(model.removeprefix("hedra-")))
    given = own.get(resolution) if isinstance(own, Mapping) else None
    if given is None:
        known = USD_PER_SECOND.get(model, {}).get(resolution)
        return None if known is None else Fraction(known)
    rate = None if isinstance(given, bool) else read_number(given)
    if rate is None or rate < 0:
        raise HedraConfigurationError(
            f"prices: {shown(given)} is not a number of US dollars per second ({model}, {resolution}).",
            param="prices",
            remedy="Correct it in the connection's extra. Nothing was submitted.",
        )
    return rate


def estimate_avatar(
    model: str,
    resolution: str,
    seconds: Span | None,
    prices: Prices | None = None,
    *,
    duration_ms: int | None = None,
    longest_seconds: Fraction | int = LONGEST_SECONDS,
) -> Estimate | None:
    """
    Estimate what a video costs on v3.

    :param model: The model, as v3 names it.
    :param resolution: E.g. ``720p``.
    :param seconds: The length of the audio, of all audios together; None or ``UNKNOWN_SECONDS`` if it is
        unknown: the model's longest audio is the upper bound.
    :param prices: The connection's ``prices``. Default: None, the table alone.
    :param duration_ms: The length of the video in milliseconds, to which Hedra trims or pads the audio.
        Default: None, the length of the audio.
    :param longest_seconds: The longest audio that the model takes. Default: 600.
    :return: US dollars; None if the price is unknown.
    :raises HedraConfigurationError: If ``prices`` has no valid price for it.
    """
    rate = usd_per_second(model, resolution, prices)
    if rate is None:
        return None
    if duration_ms:
        length = Span.exactly(Fraction(duration_ms, 1000))
    elif seconds is None or seconds == UNKNOWN_SECONDS:
        length = Span(Fraction(0), Fraction(longest_seconds))
    else:
        length = seconds
    return Estimate(usd(rate * length.low, ROUND_FLOOR), usd(rate * length.high, ROUND_CEILING), USD)


def estimate_spoken_avatar(
    speech: Estimate | None,
    model: str,
    resolution: str,
    text: str,
    speed: float | None = None,
    prices: Prices | None = None,
    *,
    duration_ms: int | None = None,
    longest_seconds: Fraction | int = LONGEST_SECONDS,
) -> Estimate | None:
    """
    Estimate what a video of a spoken text costs on v3: the speech and the avatar, two jobs.

    The length of the speech is known only after it was paid for. So the avatar's price is a span, from the
    fastest to the slowest voice.

    :param speech: What the speech costs, from :func:`quoted`; None if it is unknown.
    :param model: The model of the avatar, as v3 names it.
    :param resolution: E.g. ``720p``.
    :param text: The text.
    :param speed: The speed of the speech. Default: None, which is 1.
    :param prices: The connection's ``prices``. Default: None, the table alone.
    :param duration_ms: The length of the video in milliseconds. Default: None, the length of the speech.
    :param longest_seconds: The longest audio that the avatar's model takes. Default: 600.
    :return: US dollars; None if one of the prices is unknown.
    :raises HedraConfigurationError: If ``prices`` has no valid price for it.
    """
    spoken = spoken_seconds(text, read_number(speed))
    longest = Fraction(longest_seconds)
    length = Span(min(spoken.low, longest), min(spoken.high, longest))
    avatar = estimate_avatar(model, resolution, length, prices, duration_ms=duration_ms)
    return speech + avatar if speech and avatar else None


def quoted(cost: object, currency: str | None) -> Estimate | None:
    """
    Return the answer of ``POST /models/{model}/estimate`` as an estimate.

    :param cost: The price.
    :param currency: Its currency.
    :return: US dollars; None if the price is not a number of at least 0, or in another currency.
    """
    amount = None if isinstance(cost, bool) else read_number(cost)
    if amount is None or amount < 0 or currency != USD:
        return None
    return Estimate(usd(amount, ROUND_FLOOR), usd(amount, ROUND_CEILING), USD)
