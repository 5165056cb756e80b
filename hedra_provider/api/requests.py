"""What can be asked for: bodies of ``POST /generations``, checked before anything is spent.

The fields are those of Hedra's v2 schema (GenerateVideoRequest, GenerateTextToSpeechRequest); a field that
it gains later is passed through as it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown

if TYPE_CHECKING:
    from hedra_provider.api.responses import Model


@dataclass(frozen=True)
class KnownModel:
    """A model by its short name; its id and slug are Hedra's published ones, None where not published."""

    id: str
    slug: str | None


KNOWN_MODELS: Mapping[str, KnownModel] = {
    "avatar": KnownModel("26f0fc66-152b-40ab-abed-76c43df99bc8", "together/hedra-avatar"),
    "omnia": KnownModel("ab372b84-432f-44f5-bacc-c2542465f712", None),
    "character-3": KnownModel("d1dd37a3-e39a-4854-a298-6510289f9cf2", "together/hedra-character-3"),
}


_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def _uuid_text(value: Any) -> str:
    text = str(value).strip()
    if not is_uuid(text):
        raise ValueError("should be a UUID")
    return text.lower()


def _words(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("should not be empty")
    return value


AssetId = Annotated[str, BeforeValidator(_uuid_text)]
Words = Annotated[str, BeforeValidator(_words)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class SpeechRequest(_Body):
    """Inline speech, or a text_to_speech generation of its own. Speed and stability as in Hedra's schema."""

    type: str = "text_to_speech"
    # require_voice() requires it: an estimate can do without.
    voice_id: AssetId | None = None
    text: Words
    language: str = "auto"
    speed: float = Field(default=1.0, ge=0.7, le=1.2)
    stability: float = Field(default=1.0, ge=0.0, le=1.0)


class VideoInputs(_Body):
    """How the video shall look."""

    text_prompt: Words
    aspect_ratio: str = Field(pattern=r"^\d{1,3}:\d{1,3}$")
    resolution: Words
    duration_ms: int | None = Field(default=None, gt=0)
    seed: int | None = None


class VideoRequest(_Body):
    """A video of a portrait and a voice."""

    type: str = "video"
    name: str | None = Field(default=None, max_length=255)
    ai_model_id: AssetId | None = None
    model_slug: Words | None = None
    start_keyframe_id: AssetId | None = None
    audio_id: AssetId | None = None
    audio_generation: SpeechRequest | None = None
    audio_start_ms: int | None = None
    workspace_id: str | None = None
    generated_video_inputs: VideoInputs


def is_uuid(value: str) -> bool:
    """Return whether a text is a UUID in its usual form of 36 characters."""
    return _UUID.fullmatch(value) is not None


def model_fields(model: str, catalogue: Iterable[Model] = ()) -> dict[str, str]:
    """
    Return how a request names a model.

    :param model: A short name (``avatar``, ``omnia``, ``character-3``), a slug or an id.
    :param catalogue: The account's models; a slug found there is preferred, for Hedra deprecates ids.
    :return: ``{"model_slug": ...}``, or ``{"ai_model_id": ...}`` where no slug is known.
    """
    found = find_model(model, catalogue)
    known = KNOWN_MODELS.get(model.strip().lower())
    slug = (found.slug if found else None) or (known.slug if known else None)
    if slug:
        return {"model_slug": slug}
    named = (known.id if known else None) or model.strip()
    if is_uuid(named):
        return {"ai_model_id": named}
    if not named or any(character.isspace() for character in named):
        raise HedraValueError(
            f"model: {shown(model)} is not a model's name.",
            param="model",
            remedy=f"Use one of {', '.join(KNOWN_MODELS)}, or a slug or id of GET /models.",
        )
    return {"model_slug": named}


def find_model(model: str, catalogue: Iterable[Model]) -> Model | None:
    """Return the model of the catalogue that a name, slug or id means; None if it is not there."""
    wanted = {model.strip().lower()}
    known = KNOWN_MODELS.get(model.strip().lower())
    if known:
        wanted |= {known.id} | ({known.slug} if known.slug else set())
    for candidate in catalogue:
        if {(candidate.id or "").lower(), (candidate.slug or "").lower()} & wanted - {""}:
            return candidate
    return None


def avatar_video_request(
    *,
    image_id: str | None = None,
    audio_id: str | None = None,
    text: str | None = None,
    voice_id: str | None = None,
    language: str = "auto",
    speed: float = 1.0,
    stability: float = 1.0,
    text_prompt: str,
    model: Mapping[str, str] | None = None,
    aspect_ratio: str,
    resolution: str,
    duration_ms: int | None = None,
    audio_start_ms: int | None = None,
    seed: int | None = None,
    name: str | None = None,
    workspace_id: str | None = None,
    extra_request: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Build the body for a video of a portrait that speaks.

    A model or an asset that is not known yet is left out: the caller adds it to the body.

    :param image_id: The portrait's asset.
    :param audio_id: The voice's asset; it sets the length of the video. Or:
    :param text: What to say, with ``voice_id``: Hedra makes the speech.
    :param model: As :func:`model_fields` gives it.
    :param duration_ms: Left out, the video follows the audio.
    :param extra_request: Merged over the body: newer fields, or any other.
    :raises HedraValueError: Naming the field, its value and what would be right.
    """
    speech = None
    if text is not None:
        speech = {
            "voice_id": voice_id,
            "text": text,
            "language": language,
            "speed": speed,
            "stability": stability,
        }
    body: dict[str, Any] = {
        "type": "video",
        "name": name,
        **(model or {}),
        "start_keyframe_id": image_id,
        "audio_id": audio_id,
        "audio_generation": speech,
        "audio_start_ms": audio_start_ms,
        "workspace_id": workspace_id,
        "generated_video_inputs": {
            "text_prompt": text_prompt,
            "aspect_ratio": aspect_ratio,
            "resolution": resolution,
            "duration_ms": duration_ms,
            "seed": seed,
        },
    }
    return checked(VideoRequest, merged(body, extra_request or {}))


def require_one_voice(audio: str | None, text: str | None, voice_id: str | None) -> None:
    """
    Check that a video gets exactly one voice.

    :raises HedraValueError: If it has none or two, or a text without a voice.
    """
    if audio and text:
        raise HedraValueError(
            "audio and text are both given: which of them shall be spoken?",
            remedy="Give audio (a recording), or text with voice_id (Hedra makes the speech), not both.",
        )
    if not audio and not text:
        raise HedraValueError(
            "Neither audio nor text is given.",
            remedy="Give audio (an asset id, path or URI), or text with voice_id.",
        )
    if text and not voice_id:
        raise HedraValueError(
            "text is given without voice_id.",
            remedy="Take the id of a voice of GET /voices: client.run(calls.list_voices()).",
        )


def require_voice(body: Mapping[str, Any]) -> None:
    """
    Check that inline speech has a voice, also where ``extra_request`` sets it.

    :raises HedraValueError: If it has none.
    """
    speech = body.get("audio_generation")
    if speech and not speech.get("voice_id"):
        raise HedraValueError(
            "audio_generation.voice_id: Field required.",
            param="audio_generation.voice_id",
            remedy="Nothing was sent.",
        )


IDENTITY_FIELDS = frozenset({"generation_id", "generation_ids", "reserved_asset_id", "reserved_asset_ids"})
"""Fields that say which generation it is, not what it shows; they are this package's to set."""


MAX_BATCH_SIZE = 8
"""Variations that Hedra's v2 schema lets one request ask for."""


def refuse_ids(body: Mapping[str, Any]) -> None:
    """
    Refuse a body that sets what identifies a generation.

    :raises HedraValueError: Naming the field.
    """
    own = sorted(IDENTITY_FIELDS & body.keys())
    if own:
        raise HedraValueError(
            f"request: {', '.join(own)} is set by this package.",
            param=own[0],
            remedy="Use idempotency_key to say what the generation is for.",
        )


def batch_size(body: Mapping[str, Any]) -> int:
    """
    Return how many variations a body asks for; 1 where it does not say.

    :raises HedraValueError: If it is not a whole number that Hedra takes.
    """
    asked = body.get("batch_size")
    try:
        size = 1 if asked is None else int(str(asked).strip())
    except ValueError:
        size = 0
    if not 1 <= size <= MAX_BATCH_SIZE:
        raise HedraValueError(
            f"batch_size: {shown(asked)} is not a whole number from 1 to {MAX_BATCH_SIZE}.",
            param="batch_size",
            remedy="Map a task over more variations.",
        )
    return size


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the extra fields laid over it, mappings within mappings too."""
    result = dict(body)
    for name, value in extra.items():
        below = result.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = merged(below, value)
        result[name] = value
    return result


def checked(kind: type[_Body], body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check a body and drop what is None.

    :raises HedraValueError: With every field that is wrong, its value and what would be right.
    """
    require_sendable(body, "request")
    try:
        return kind.model_validate(body).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False, include_context=False):
            place = clean(".".join(str(part) for part in item["loc"]), max_length=100)
            value = f" (got {shown(item.get('input'), 80)})" if item["type"] != "missing" else ""
            problems.append(
                {"field": place, "message": f"{item['msg'].removeprefix('Value error, ')}{value}"}
            )
        first = problems[0]
        raise HedraValueError(
            "; ".join(f"{p['field']}: {p['message']}" for p in problems) + ".",
            param=first["field"],
            violations=problems,
            remedy="Nothing was sent.",
        ) from None


def require_sendable(value: Any, param: str, *, depth: int = 20) -> None:
    """
    Refuse what can't be written as JSON, before anything is sent.

    :param value: What shall be sent.
    :param param: Where it comes from, for messages.
    :raises HedraValueError: Naming the field.
    """
    wrong = None
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in ("" if value.isascii() else value)):
            wrong = "holds half a character (a lone surrogate)"
    elif isinstance(value, float):
        wrong = None if math.isfinite(value) else "is no number that JSON knows"
    elif isinstance(value, (Mapping, list, tuple)) and not depth:
        wrong = "is nested too deeply"
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if not isinstance(name, str):
                raise HedraValueError(
                    f"{param}: the field {shown(name)} has no text for a name.", param=param
                )
            require_sendable(name, f"{param}: a field's name", depth=depth)
            require_sendable(item, clean(name, max_length=100), depth=depth - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            require_sendable(item, param, depth=depth - 1)
    elif value is not None and not isinstance(value, int):
        wrong = f"is a {type(value).__name__}, which JSON does not know"
    if wrong:
        raise HedraValueError(f"{param} {wrong}: {shown(value)}.", param=param, remedy="Nothing was sent.")


def require_id(value: Any, param: str) -> str:
    """
    Return the id of a generation or an asset.

    :raises HedraValueError: If it is no UUID.
    """
    text = str(value).strip()
    if not is_uuid(text):
        raise HedraValueError(
            f"{param}: {shown(value)} is not a UUID.",
            param=param,
            remedy="Give the id that Hedra, or a task, gave.",
        )
    return text


def check_against_model(body: Mapping[str, Any], model: Model, *, has_audio: bool = False) -> None:
    """
    Check a video request against the limits that its model publishes.

    :param has_audio: Whether the body gets its audio later. Default: False.
    :raises HedraValueError: Naming the field, its value and what the model takes.
    """
    inputs = body.get("generated_video_inputs") or {}
    name = model.name or model.slug or model.id
    ratio, resolution = inputs.get("aspect_ratio"), inputs.get("resolution")
    if model.aspect_ratios and ratio and not model.aspect_ratio_range and ratio not in model.aspect_ratios:
        raise _not_taken("aspect_ratio", ratio, name, ", ".join(model.aspect_ratios))
    if model.resolutions and resolution and resolution not in model.resolutions:
        raise _not_taken("resolution", resolution, name, ", ".join(model.resolutions))
    duration = inputs.get("duration_ms")
    if model.max_duration_ms and duration and duration > model.max_duration_ms:
        raise _not_taken("duration_ms", duration, name, f"at most {model.max_duration_ms} ms")
    has_audio = has_audio or bool(body.get("audio_id") or body.get("audio_generation"))
    if model.requires_audio_input and not has_audio:
        raise _not_taken("audio_id", None, name, "portrait and audio")
    prompt = inputs.get("text_prompt") or ""
    if model.max_prompt_length and len(prompt) > model.max_prompt_length:
        raise _not_taken(
            "text_prompt", f"{len(prompt)} characters", name, f"at most {model.max_prompt_length}"
        )


def not_in_catalogue(model: str, catalogue: Iterable[Model]) -> HedraValueError:
    """Build the error of a model that the account does not have."""
    there = sorted(filter(None, (candidate.slug or candidate.id for candidate in catalogue)))
    return HedraValueError(
        f"model: {shown(model)} is not in this account's catalogue.",
        param="model",
        remedy=f"Use one of: {', '.join(there[:20]) or 'none at all are there; check the plan'}.",
    )


def _not_taken(param: str, value: Any, model: Any, takes: str) -> HedraValueError:
    return HedraValueError(
        f"{param}: {model} does not take {shown(value)}; it takes {takes}.",
        param=param,
        remedy="Nothing was submitted.",
    )
