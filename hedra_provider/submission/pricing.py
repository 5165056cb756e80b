"""What a request will cost. On v2: in credits, from what ``GET /models`` publishes.

Hedra's formula (v2 schema, Pricing) in exact arithmetic::

    ceil((base_cost + credits_per_second * seconds) * product(modifiers))

Hedra may bill more than it publishes: 3.5 credits per second were measured where 3 were published.

On v3 the catalogue has no prices: :mod:`hedra_provider.submission.rates` has them, in US dollars.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hedra_provider.api.responses import GRACE_SECONDS
from hedra_provider.records import CREDITS

if TYPE_CHECKING:
    from hedra_provider.api.responses import Model

SPOKEN_CHARACTERS_PER_SECOND = (10, 22)
"""The slowest and the fastest voice at speed 1.0, in letters; English is read at about 15."""

SPOKEN_SYLLABLES_PER_SECOND = (3, 7)
"""The same for scripts with a syllable or more per character: Chinese, Japanese, Korean."""

_LARGEST_EXPONENT = 308

_CENT = Decimal("0.01")

LONGEST_SECONDS = Fraction(600)
"""The longest audio that Hedra documents for any model."""


@dataclass(frozen=True)
class Span:
    """
    A number between two bounds. Limits are compared with its upper bound.

    :param low: The lower bound.
    :param high: The upper bound.
    """

    low: Fraction
    high: Fraction

    @classmethod
    def exactly(cls, value: Fraction | int) -> Span:
        """Return the span of one number."""
        return cls(Fraction(value), Fraction(value))

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.high + other.high)


UNKNOWN_SECONDS = Span(Fraction(0), Fraction(10**9))
"""The length of an audio that can't be measured. Its upper bound is the model's maximum. The length that
Hedra states is not used, because the unit of that number is uncertain."""


@dataclass(frozen=True)
class Estimate:
    """
    What a request will cost.

    :param low: The lower bound, in ``currency``.
    :param high: The upper bound, in ``currency``; limits are compared with it.
    :param currency: ``credits`` (whole numbers) or ``USD`` (Decimal). Default: ``credits``.
    """

    low: Decimal | int
    high: Decimal | int
    currency: str = CREDITS

    def __str__(self) -> str:
        low, high = (
            _bound(self.low, ROUND_FLOOR, self.currency),
            _bound(self.high, ROUND_CEILING, self.currency),
        )
        is_one = self.low == self.high or low == high
        return f"{high} {self.currency}" if is_one else f"{low} to {high} {self.currency}"

    def __add__(self, other: Estimate) -> Estimate:
        """
        Return the sum.

        :raises ValueError: If the currencies differ.
        """
        if self.currency != other.currency:
            raise ValueError(f"{self} and {other} can't be added: their currencies differ.")
        return Estimate(self.low + other.low, self.high + other.high, self.currency)


def amount_text(amount: Decimal | int | Fraction, currency: str) -> str:
    """
    Return an amount in full for a message: ``30 credits``, ``0.50 USD``, ``0.4125 USD``.

    :param amount: The amount; US dollars are shown with two decimals or more, never rounded below 1e-6.
    :param currency: ``credits`` or ``USD``.
    """
    if currency == CREDITS:
        return f"{amount} {currency}"
    exact = usd(Fraction(amount), ROUND_CEILING)
    cents = exact.quantize(_CENT)
    return f"{cents if cents == exact else exact.normalize():f} {currency}"


def usd(amount: Fraction, rounding: str) -> Decimal:
    """
    Return an amount of US dollars as a Decimal with six decimals.

    :param amount: The exact amount. A third of a dollar has no exact Decimal.
    :param rounding: ``ROUND_CEILING`` for an upper bound, ``ROUND_FLOOR`` for a lower one.
    """
    micros = amount * 1_000_000
    whole = math.ceil(micros) if rounding == ROUND_CEILING else math.floor(micros)
    return Decimal(whole).scaleb(-6)


def _bound(amount: Decimal | int, rounding: str, currency: str) -> Decimal | int:
    """Round a bound in US dollars to the cent, away from the other bound; credits are whole."""
    return amount if currency == CREDITS else Decimal(amount).quantize(_CENT, rounding)


def price(pricing: Mapping[str, Any], seconds: Fraction, choices: Mapping[str, Any]) -> int | None:
    """
    Return the credits for one generation.

    :param pricing: A model's ``pricing``.
    :param seconds: Length of the output.
    :param choices: The value of each dimension, e.g. ``{"resolution": "720p"}``. A value that the model does
        not price has the factor 1.
    :return: Credits, rounded up; None if the model publishes no price.
    """
    base, rate = _number(pricing.get("base_cost")), _number(pricing.get("credits_per_second"))
    if base is None and rate is None:
        return None
    credits = (base or Fraction(0)) + (rate or Fraction(0)) * seconds
    modifiers = pricing.get("modifiers")
    for dimension, factors in (modifiers if isinstance(modifiers, Mapping) else {}).items():
        chosen = choices.get(dimension)
        # The names in a JSON object are texts: a choice of 60 or 60.0 has the factor of "60".
        if isinstance(chosen, float) and chosen.is_integer():
            chosen = int(chosen)
        name = str(chosen).lower() if isinstance(chosen, bool) else str(chosen)
        if isinstance(factors, Mapping) and name in factors:
            credits *= _number(factors[name]) or Fraction(1)
    return math.ceil(credits)


def estimate(
    body: Mapping[str, Any], model: Model, *, audio_seconds: Span | None = None, speech: Model | None = None
) -> Estimate | None:
    """
    Estimate what a request will cost.

    :param body: The body of ``POST /generations``.
    :param model: Its model, from the catalogue.
    :param audio_seconds: The length of its audio in seconds; None without one.
    :param speech: The model of its inline speech, from the catalogue; the speech costs extra.
    :return: Credits; None if a price is not published or no length is known.
    """
    inputs = body.get("generated_video_inputs") or {}
    spoken = body.get("audio_generation") if not body.get("audio_id") else None
    text = spoken or (body if body.get("type") == "text_to_speech" else None)
    speech_seconds = spoken_seconds(str(text.get("text", "")), _number(text.get("speed"))) if text else None
    audio = None if audio_seconds == UNKNOWN_SECONDS else audio_seconds or speech_seconds
    heard = _from(audio, _number(body.get("audio_start_ms")))
    length = _length(inputs, heard, model)
    total = _priced(model, length, {**body, **inputs})
    if spoken and speech_seconds is not None:
        extra = _priced(speech, speech_seconds, {}) if speech is not None else None
        total = total + extra if total and extra else None
    batch = body.get("batch_size")
    times = batch if isinstance(batch, int) and batch > 1 else 1
    return Estimate(total.low * times, total.high * times, total.currency) if total else None


def spoken_seconds(text: str, speed: Fraction | None = None) -> Span:
    """
    Return how long the speech of a text may be.

    :param text: The text.
    :param speed: The speed of the speech; 1 by default.
    :return: Seconds.
    """
    signs = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    letters = len(text) - signs
    pace = speed or Fraction(1)
    slow, fast = (
        (Fraction(letters, a) + Fraction(signs, b)) / pace
        for a, b in zip(SPOKEN_CHARACTERS_PER_SECOND, SPOKEN_SYLLABLES_PER_SECOND, strict=True)
    )
    # Even a word takes a moment.
    return Span(min(fast, slow), max(slow, Fraction(1)))


def uploaded_seconds(duration_ms: int | None, model: Model | None) -> Span | None:
    """
    Return the length of an uploaded audio, as Hedra states it.

    Hedra's schema describes ``duration_ms`` as "in seconds". A number that is plausible in both units gives a
    span from one to the other. A file that this task reads is measured instead (:func:`measured_seconds`).

    :param duration_ms: The asset's ``duration_ms``.
    :param model: The model that the audio is for.
    :return: Seconds; None if Hedra states no length.
    """
    if not duration_ms or duration_ms < 0:
        return None
    as_milliseconds, as_seconds = Fraction(duration_ms, 1000), Fraction(duration_ms)
    longest = max(Fraction((model and model.max_duration_ms) or 0, 1000), LONGEST_SECONDS)
    # A whole number of seconds may have been rounded down.
    return Span(as_milliseconds, as_seconds + 1 if as_seconds <= longest else as_milliseconds)


def measured_seconds(played_ms: int, at_most_ms: int) -> Span:
    """
    Return the length of a measured audio.

    :param played_ms: What a decoder plays, in milliseconds.
    :param at_most_ms: The same with the encoder's padding at both ends, in milliseconds; Hedra may bill it.
    :return: Seconds.
    """
    return Span(Fraction(played_ms, 1000), Fraction(at_most_ms, 1000))


def total(estimates: Iterable[Estimate], currency: str = CREDITS) -> Estimate:
    """
    Return the sum of estimates; 0 without any.

    :param estimates: Estimates in one currency.
    :param currency: Their currency. Default: ``credits``.
    :raises ValueError: If an estimate has another currency.
    """
    return sum(estimates, Estimate(0, 0, currency))


def _from(audio: Span | None, start_ms: Fraction | None) -> Span | None:
    """Return the length of an audio after ``audio_start_ms``: above 0 crops, below 0 prepends silence."""
    if audio is None or not start_ms:
        return audio
    zero = Fraction(0)
    return Span(max(audio.low - start_ms / 1000, zero), max(audio.high - start_ms / 1000, zero))


def _length(inputs: Mapping[str, Any], audio: Span | None, model: Model) -> Span | None:
    """Return the length of the output: ``duration_ms``, else the audio's, else up to the model's maximum."""
    asked = _number(inputs.get("duration_ms"))
    if asked:
        return Span.exactly(asked / 1000)
    longest = Fraction(model.max_duration_ms, 1000) if model.max_duration_ms else None
    if audio is None:
        return Span(Fraction(0), longest + GRACE_SECONDS) if longest else None
    if longest is None or model.type != "video":
        return audio
    return Span(min(audio.low, longest), min(audio.high, longest + GRACE_SECONDS))


def _priced(model: Model, length: Span | None, choices: Mapping[str, Any]) -> Estimate | None:
    pricing = model.pricing or {}
    if length is None:
        if _number(pricing.get("credits_per_second")):
            return None
        length = Span.exactly(0)
    low, high = price(pricing, length.low, choices), price(pricing, length.high, choices)
    return None if low is None or high is None else Estimate(low, high)


def _number(value: Any) -> Fraction | None:
    """Read a JSON number exactly: 0.1 is a tenth, not the nearest binary fraction."""
    return None if value is None or isinstance(value, bool) else read_number(value)


def read_number(value: object) -> Fraction | None:
    """
    Read a number, or the text of one, exactly.

    :param value: What may be a number.
    :return: None if it is no number, is not finite, or is beyond 1e308, the range of a JSON number.
    """
    try:
        # str() raises ValueError for an int of thousands of digits.
        number = Decimal(str(value).strip())
    except (ValueError, ArithmeticError):
        return None
    # As a fraction, 1e999999999 would have a thousand million digits.
    return Fraction(number) if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None
