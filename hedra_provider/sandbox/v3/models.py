"""The models of API v3, their voices, limits and prices.

Ids and limits are documented. Prices of avatars were observed at Hedra. Prices of speech are only plausible:
``POST /models/{model}/estimate`` names them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hedra_provider.sandbox import catalogue

JsonObject = dict[str, Any]

MICRO = 1_000_000
"""Money is counted in millionths of a US dollar: whole numbers add up without rounding."""

RATIOS = {
    "1:1": (1, 1), "4:3": (4, 3), "3:4": (3, 4), "16:9": (16, 9), "9:16": (9, 16), "9:21": (9, 21),
    "21:9": (21, 9),
}  # fmt: skip

RESOLUTIONS = {"540p": 540, "720p": 720, "1080p": 1080}
"""Length of the shorter side in pixels."""

USD_PER_SECOND = {"540p": Fraction(25, 1000), "720p": Fraction(50, 1000), "1080p": Fraction(625, 10_000)}
"""Price of a second of avatar video; observed."""

MAX_DURATION_MS = 600_000
MIN_AUDIO_MS = 500
MAX_IMAGE_BYTES = 10 * 1024**2
MAX_AUDIO_BYTES = 100 * 1024**2
MAX_AUDIOS = 4

SPEECH_MODELS = {"elevenlabs-v3": 5_000, "elevenlabs-flash-v2": 30_000}
"""Characters that each speech model takes at most."""

_USD_PER_CHARACTER = {"elevenlabs-v3": Fraction(1, 10_000), "elevenlabs-flash-v2": Fraction(1, 20_000)}

AVATAR_MODELS = {"hedra-avatar": "Hedra Avatar", "hedra-character-3": "Hedra Character 3"}

RETIRED = {"hedra-character-2": "hedra-character-3"}
"""Models that are gone, and their successors."""

VOICE_PREFIX = "voice_"

VOICES = tuple({**voice, "id": VOICE_PREFIX + voice["id"]} for voice in catalogue.VOICES)
"""The voices of API v2 under the ids of API v3."""

# Not a visible character: what the schema forbids a prompt to consist of.
TEXT_PATTERN = r"[^\s\x1C-\x1F]"


def all_models() -> list[JsonObject]:
    """Return the models as ``GET /models/{model}`` answers them."""
    return [_avatar(model, name) for model, name in AVATAR_MODELS.items()] + [
        _speech(model, limit) for model, limit in SPEECH_MODELS.items()
    ]


def avatar_price(duration_ms: int, resolution: str) -> int:
    """Compute what an avatar video costs, in millionths of a US dollar.

    :param duration_ms: length in milliseconds.
    :param resolution: a key of :data:`RESOLUTIONS`.
    """
    return _micro(USD_PER_SECOND[resolution] * Fraction(duration_ms, 1000))


def speech_price(model: str, characters: int) -> int:
    """Compute what a speech costs, in millionths of a US dollar.

    :param model: a key of :data:`SPEECH_MODELS`.
    :param characters: length of the text.
    """
    return _micro(_USD_PER_CHARACTER[model] * characters)


def size(aspect_ratio: str, resolution: str) -> tuple[int, int]:
    """Return width and height in pixels, both even.

    :param aspect_ratio: a key of :data:`RATIOS`.
    :param resolution: a key of :data:`RESOLUTIONS`.
    """
    wide, high = RATIOS[aspect_ratio]
    unit = Fraction(RESOLUTIONS[resolution], min(wide, high))
    return 2 * round(wide * unit / 2), 2 * round(high * unit / 2)


def _micro(usd: Fraction) -> int:
    return -(-usd * MICRO // 1)


def _schema(required: list[str], properties: JsonObject) -> JsonObject:
    return {
        "type": "object", "properties": properties, "required": required, "additionalProperties": False,
    }  # fmt: skip


def _media(description: str) -> JsonObject:
    def reference(source: str, field: str) -> JsonObject:
        values = {"source": {"type": "string", "enum": [source]}, field: {"type": "string"}}
        return _schema(["source", field], values)

    return {
        "description": description,
        "discriminator": {"propertyName": "source"},
        "oneOf": [reference("url", "url"), reference("asset", "asset_id")],
    }


def _avatar(model: str, name: str) -> JsonObject:
    prices = ", ".join(f"{float(price * 100):g} cents at {key}" for key, price in USD_PER_SECOND.items())
    text = {"type": "string", "pattern": TEXT_PATTERN, "description": "What the video shows."}
    image = _media("The portrait.") | {
        "media_type": "image", "role": "start_frame", "max_file_size_bytes": MAX_IMAGE_BYTES,
    }  # fmt: skip
    one = _media("The speech.")
    audio = {
        "anyOf": [one, {"type": "array", "items": one, "minItems": 1, "maxItems": MAX_AUDIOS}],
        "media_type": "audio",
        "role": "audio_input",
        "min_duration_ms": MIN_AUDIO_MS,
        "max_duration_ms": MAX_DURATION_MS,
        "max_file_size_bytes": MAX_AUDIO_BYTES,
    }
    share = {"type": "number", "minimum": 0, "maximum": 1}
    point = {"type": "array", "items": share, "minItems": 2, "maxItems": 2}
    properties = {
        "prompt": text,
        "aspect_ratio": {"type": "string", "enum": list(RATIOS)},
        "resolution": {"type": "string", "enum": list(RESOLUTIONS)},
        "start_image": image,
        "audio": audio,
        "duration_ms": {"type": "integer", "maximum": MAX_DURATION_MS},
        "bounding_box_target": {"anyOf": [point, {"type": "array", "items": point}]},
        "num_outputs": {"type": "integer", "enum": [1], "default": 1},
    }
    return {
        "id": model,
        "modality": "video",
        "name": name,
        "description": "A talking character from a portrait and a speech, up to ten minutes.",
        "price_description": f"Per second: {prices}.",
        "logo_url": None,
        "input_schema": _schema(["prompt", "aspect_ratio", "resolution", "start_image", "audio"], properties),
        "output_schema": {"type": "object"},
    }


def _speech(model: str, limit: int) -> JsonObject:
    properties = {
        "text": {"type": "string", "maxLength": limit, "pattern": TEXT_PATTERN},
        "voice_id": {"type": "string"},
        "stability": {"type": "number", "minimum": 0, "maximum": 1, "default": 1},
        "speed": {"type": "number", "minimum": 0.7, "maximum": 1.2, "default": 1},
        "language": {"type": "string"},
    }
    price = float(_USD_PER_CHARACTER[model] * 1000)
    return {
        "id": model,
        "modality": "audio",
        "name": "ElevenLabs v3" if model == "elevenlabs-v3" else "ElevenLabs Flash v2",
        "description": "Hums a text; about 15 characters a second.",
        "price_description": f"{price:g} USD per 1,000 characters.",
        "logo_url": None,
        "input_schema": _schema(["text", "voice_id"], properties),
        "output_schema": {"type": "object"},
    }
