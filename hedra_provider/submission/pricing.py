"""What a request will cost, from what ``GET /models`` publishes.

Hedra's formula (v2 schema, Pricing) in exact arithmetic::

    ceil((base_cost + credits_per_second * seconds) * product(modifiers))

An estimate is an estimate: 3.5 credits a second were measured where 3 were published.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hedra_provider.api.responses import Model

SPOKEN_CHARACTERS_PER_SECOND = (10, 22)
"""How slow and how fast a voice reads letters at speed 1.0; English is read at about 15."""

SPOKEN_SYLLABLES_PER_SECOND = (3, 7)
"""The same for scripts that write a syllable or more per sign: Chinese, Japanese, Korean."""

_LARGEST_EXPONENT = 308

LONGEST_SECONDS = Fraction(600)
"""The longest audio that a model of Hedra's is documented to take."""

GRACE_SECONDS = Fraction(1)
"""How much longer than a model's longest an audio may be: Hedra's schema speaks of a grace on the maximum
(``DURATION_MAX_TOLERANCE_MS``) without its size. Such an audio is taken, and may be billed in full."""


@dataclass(frozen=True)
class Span:
    """
    A number that is known to lie between two others; judged by its top.

    :param low: The least.
    :param high: The most.
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
"""Of an audio whose length can't be measured. A model's longest is its upper bound; what Hedra states of the
asset is not, because the unit of that number is not sure."""


@dataclass(frozen=True)
class Estimate:
    """
    Credits that a request will cost.

    :param low: At the least.
    :param high: At the most, as far as can be known before; this is what limits are compared with.
    """

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.high} credits" if self.low == self.high else f"{self.low} to {self.high} credits"

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.low + other.low, self.high + other.high)


def price(pricing: Mapping[str, Any], seconds: Fraction, choices: Mapping[str, Any]) -> int | None:
    """
    Return the credits for one generation.

    :param pricing: A model's ``pricing``.
    :param seconds: Length of the output.
    :param choices: What was chosen of each dimension, e.g. ``{"resolution": "720p"}``; of modifiers that are
        not listed the factor is 1.
    :return: None where the model publishes no price.
    """
    base, rate = _number(pricing.get("base_cost")), _number(pricing.get("credits_per_second"))
    if base is None and rate is None:
        return None
    credits = (base or Fraction(0)) + (rate or Fraction(0)) * seconds
    modifiers = pricing.get("modifiers")
    for dimension, factors in (modifiers if isinstance(modifiers, Mapping) else {}).items():
        chosen = choices.get(dimension)
        if isinstance(chosen, bool):
            chosen = str(chosen).lower()
        if isinstance(factors, Mapping) and chosen in factors:
            credits *= _number(factors[chosen]) or Fraction(1)
    return math.ceil(credits)


def estimate(
    body: Mapping[str, Any], model: Model, *, audio_seconds: Span | None = None, speech: Model | None = None
) -> Estimate | None:
    """
    Return what a request will cost.

    :param body: The body of ``POST /generations``.
    :param model: Its model, of the catalogue.
    :param audio_seconds: How long its audio is, where there is one.
    :param speech: The model of its inline speech, of the catalogue; it costs extra.
    :return: None where it can't be told: a price is not published, or no length is known.
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
    return Estimate(total.low * times, total.high * times) if total else None


def spoken_seconds(text: str, speed: Fraction | None = None) -> Span:
    """
    Return how long it may take to say a text.

    :param speed: Of the speech; 1 by default.
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
    Return how long an uploaded audio is by what Hedra says of it.

    The schema calls ``duration_ms`` "in seconds". A number that makes sense either way is taken as both; of a
    file that was at hand the measured length is used instead (:func:`measured_seconds`).

    :param duration_ms: What the asset says.
    :param model: The model that it is for.
    """
    if not duration_ms or duration_ms < 0:
        return None
    as_milliseconds, as_seconds = Fraction(duration_ms, 1000), Fraction(duration_ms)
    longest = max(Fraction((model and model.max_duration_ms) or 0, 1000), LONGEST_SECONDS)
    # A whole number of seconds may have been cut off.
    return Span(as_milliseconds, as_seconds + 1 if as_seconds <= longest else as_milliseconds)


def measured_seconds(played_ms: int, at_most_ms: int) -> Span:
    """
    Return how long an audio is that was measured.

    :param played_ms: What a decoder plays, in milliseconds.
    :param at_most_ms: The same with what the encoder added at both ends, which Hedra may bill too.
    """
    return Span(Fraction(played_ms, 1000), Fraction(at_most_ms, 1000))


def total(estimates: Iterable[Estimate]) -> Estimate:
    """Return the sum."""
    return sum(estimates, Estimate(0, 0))


def _from(audio: Span | None, start_ms: Fraction | None) -> Span | None:
    """Return what is heard of an audio: a start above 0 crops it, one below prepends silence."""
    if audio is None or not start_ms:
        return audio
    zero = Fraction(0)
    return Span(max(audio.low - start_ms / 1000, zero), max(audio.high - start_ms / 1000, zero))


def _length(inputs: Mapping[str, Any], audio: Span | None, model: Model) -> Span | None:
    """Return how long the output gets: what was asked for, else the audio, else the model's longest."""
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
    """Read a number of the JSON as what it says: its 0.1 is a tenth, not the nearest binary fraction."""
    return None if value is None or isinstance(value, bool) else read_number(value)


def read_number(value: object) -> Fraction | None:
    """Read a number exactly; None for what is none, or beyond what JSON's numbers can say (1e308)."""
    try:
        # str() may fail too, for an int of thousands of digits.
        number = Decimal(str(value).strip())
    except (ValueError, ArithmeticError):
        return None
    # As a fraction, 1e999999999 would have a thousand million digits.
    return Fraction(number) if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None
