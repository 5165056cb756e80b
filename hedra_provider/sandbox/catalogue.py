"""The models and voices of the sandbox, and what they cost.

Ids, slugs and maximal lengths of Hedra's models are those that Hedra documents. Prices, size limits and
prompt lengths are only plausible: a client must read them from ``GET /models``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any
from uuid import NAMESPACE_URL, uuid5

JsonObject = dict[str, Any]

ASPECT_RATIOS = ("16:9", "9:16", "1:1")

SIZES: dict[str, dict[str, tuple[int, int]]] = {
    "16:9": {"540p": (960, 540), "720p": (1280, 720), "1080p": (1920, 1080)},
    "9:16": {"540p": (540, 960), "720p": (720, 1280), "1080p": (1080, 1920)},
    "1:1": {"540p": (540, 540), "720p": (720, 720), "1080p": (1080, 1080)},
}
"""Width and height in pixels by aspect ratio and resolution."""

DURATION_TOLERANCE_MS = 250
"""Tolerance on maximal durations, in milliseconds. The schema mentions one, without its size. An MP3 is about
50 ms longer than its WAV."""


def models() -> list[JsonObject]:
    """Return the answer of ``GET /models``."""
    return list(_MODELS)


def find_model(*, slug: str | None, model_id: str | None) -> JsonObject | None:
    """Find a model.

    :param slug: its slug; None searches by id.
    :param model_id: its id, which Hedra deprecated in favour of the slug.
    """
    for model in _MODELS:
        if slug is not None and model["slug"] == slug:
            return model
        if slug is None and model_id is not None and model["id"] == model_id:
            return model
    return None


def price(model: JsonObject, duration_ms: int, resolution: str | None = None) -> int:
    """Compute the credits for one generation by the formula of Hedra's schema.

    ``ceil((base_cost + credits_per_second * seconds) * product(modifiers))``, in exact arithmetic.

    :param model: a row of ``GET /models``.
    :param duration_ms: length of the output in milliseconds.
    :param resolution: selects a modifier; default None: the modifier is 1.
    """
    pricing = model["pricing"]
    credits = Fraction(pricing["base_cost"] or 0)
    credits += Fraction(pricing["credits_per_second"] or 0) * Fraction(duration_ms, 1000)
    modifier = pricing["modifiers"].get("resolution", {}).get(resolution, 1)
    # By way of str: the published 0.1 means a tenth, not the nearest binary fraction.
    return math.ceil(credits * Fraction(str(modifier)))


def _slot(kind: str, role: str, *, required: bool = True, **limits: int) -> JsonObject:
    slot: JsonObject = {"type": kind, "role": role, "required": required, "min_count": 1, "max_count": 1}
    names = (
        "max_file_size_bytes",
        "min_dimension_px",
        "max_dimension_px",
        "min_duration_ms",
        "max_duration_ms",
    )
    return slot | {name: limits.get(name) for name in names} | {"max_total_duration_ms": None}


_PORTRAIT = _slot(
    "image", "start_frame", max_file_size_bytes=20 * 1024**2, min_dimension_px=64, max_dimension_px=8192
)


def _video_model(
    model_id: str | None,
    slug: str,
    name: str,
    description: str,
    *,
    max_duration_ms: int,
    credits_per_second: int,
    order: int,
    audio: bool = True,
    ratios: tuple[str, ...] = ASPECT_RATIOS,
    resolutions: tuple[str, ...] = ("540p", "720p", "1080p"),
) -> JsonObject:
    speech = _slot(
        "audio",
        "audio_input",
        required=audio,
        max_file_size_bytes=512 * 1024**2,
        min_duration_ms=100,
        max_duration_ms=max_duration_ms,
    )
    slots = [_PORTRAIT, speech] if audio else [_PORTRAIT]
    modifiers = {"540p": 0.5, "1080p": 2.0}
    return {
        "id": model_id,
        "slug": slug,
        "name": name,
        "description": description,
        "type": "video",
        "aspect_ratios": list(ratios),
        "aspect_ratio_range": None,
        "resolutions": list(resolutions),
        "default_resolution": "720p",
        "durations": None,
        "requires_start_frame": True,
        "requires_end_frame": False,
        "requires_audio_input": audio,
        "requires_input_video": False,
        "requires_character_orientation": False,
        "eta_ms": 120_000,
        "tags": ["avatar"] if audio else [],
        "max_duration_ms": max_duration_ms,
        "custom_resolution": False,
        "price_details": {"credit_cost": credits_per_second, "unit_scale": 1, "billing_unit": "second"},
        "pricing": {
            "base_cost": None,
            "credits_per_second": credits_per_second,
            "modifiers": {"resolution": {key: modifiers[key] for key in resolutions if key in modifiers}},
        },
        "dimensions": {
            ratio: {
                key: {"width": SIZES[ratio][key][0], "height": SIZES[ratio][key][1]} for key in resolutions
            }
            for ratio in ratios
        },
        "min_prompt_length": None,
        "max_prompt_length": 2500,
        "inputs": [{"mode": "audio_to_video" if audio else "image_to_video", "slots": slots}],
        "logo_url": None,
        "premium": False,
        "display_order": order,
    }  # fmt: skip


SPEECH_MODEL: JsonObject = {
    "id": "0e1b2f34-5a6c-4d7e-8f90-1a2b3c4d5e6f",
    "slug": "sandbox/speech",
    "name": "Sandbox Speech",
    "description": "Hums a text; about 15 characters a second.",
    "type": "text_to_speech",
    "aspect_ratios": None,
    "aspect_ratio_range": None,
    "resolutions": None,
    "default_resolution": None,
    "durations": None,
    "requires_start_frame": False,
    "requires_end_frame": False,
    "requires_audio_input": False,
    "requires_input_video": False,
    "requires_character_orientation": False,
    "eta_ms": 10_000,
    "tags": [],
    "max_duration_ms": 600_000,
    "custom_resolution": False,
    "price_details": {"credit_cost": 1, "unit_scale": 1, "billing_unit": "second"},
    "pricing": {"base_cost": None, "credits_per_second": 1, "modifiers": {}},
    "dimensions": None,
    "min_prompt_length": 1,
    "max_prompt_length": 10_000,
    "inputs": None,
    "logo_url": None,
    "premium": False,
    "display_order": 10,
}
"""The speech of ``text_to_speech`` and of ``audio_generation``."""

_MODELS: tuple[JsonObject, ...] = (
    # The first one, because Hedra's starter script takes the first model.
    _video_model(
        "d1dd37a3-e39a-4854-a298-6510289f9cf2", "together/hedra-character-3", "Hedra Character 3",
        "Portrait and audio to a talking character.",
        max_duration_ms=90_000, credits_per_second=6, order=1,
    ),
    _video_model(
        "26f0fc66-152b-40ab-abed-76c43df99bc8", "together/hedra-avatar", "Hedra Avatar",
        "Talking head with lip-sync from a portrait and audio, up to ten minutes.",
        max_duration_ms=600_000, credits_per_second=3, order=2,
    ),
    _video_model(
        "ab372b84-432f-44f5-bacc-c2542465f712", "hedra/omnia", "Hedra Omnia",
        "Full-body motion from a portrait and audio, up to eight seconds.",
        max_duration_ms=8_000, credits_per_second=15, order=3,
    ),
    _video_model(
        None, "sandbox/motion", "Sandbox Motion",
        "A silent clip from a picture; a code-backed model, so it has no id.",
        max_duration_ms=10_000, credits_per_second=5, order=4, audio=False,
        ratios=("16:9", "9:16"), resolutions=("540p", "720p"),
    ),
    SPEECH_MODEL,
)  # fmt: skip


def _voice(name: str, language: str, gender: str, accent: str, age: str) -> JsonObject:
    return {
        "id": str(uuid5(NAMESPACE_URL, f"hedra-sandbox-voice/{name}")),
        "name": name,
        "labels": {"language": language, "gender": gender, "accent": accent, "age": age},
    }


VOICES: tuple[JsonObject, ...] = (
    _voice("Ada", "English", "female", "british", "middle_aged"),
    _voice("Walt", "English", "male", "american", "old"),
    _voice("Nia", "English", "female", "american", "young"),
    _voice("Lucía", "Spanish", "female", "castilian", "young"),
    _voice("Jonas", "German", "male", "standard", "middle_aged"),
    _voice("Camille", "French", "female", "parisian", "middle_aged"),
    _voice("Ren", "Japanese", "male", "standard", "young"),
    _voice("Beatriz", "Portuguese", "female", "brazilian", "middle_aged"),
)
"""Id, name and labels; the ids never change."""

LANGUAGES = frozenset(
    (
        "Chinese", "Chinese,Yue", "English", "Arabic", "Russian", "Spanish", "French", "Portuguese",
        "German", "Turkish", "Dutch", "Ukrainian", "Vietnamese", "Indonesian", "Japanese", "Italian",
        "Korean", "Thai", "Polish", "Romanian", "Greek", "Czech", "Finnish", "Hindi", "Bulgarian",
        "Danish", "Hebrew", "Malay", "Persian", "Slovak", "Swedish", "Croatian", "Filipino", "Hungarian",
        "Norwegian", "Slovenian", "Catalan", "Nynorsk", "Tamil", "Afrikaans", "auto",
    )
)  # fmt: skip
"""The values of ``language`` of speech (Hedra's ``SupportedLanguage``)."""
