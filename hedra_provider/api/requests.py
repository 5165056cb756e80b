"""Bodies of ``POST /generations``, built and checked before anything is spent.

The fields are those of Hedra's v2 schema (GenerateVideoRequest, GenerateTextToSpeechRequest). Unknown fields
are sent unchanged, so that newer fields of Hedra's can be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown
from hedra_provider.api.values import is_uuid, require_json

if TYPE_CHECKING:
    from hedra_provider.api.responses import Model


@dataclass(frozen=True)
class KnownModel:
    """
    A model that has a short name in this package.

    :param id: Its published id.
    :param slug: Its published slug; None if Hedra publishes none.
    """

    id: str
    slug: str | None


KNOWN_MODELS: Mapping[str, KnownModel] = {
    "avatar": KnownModel("26f0fc66-152b-40ab-abed-76c43df99bc8", "together/hedra-avatar"),
    "omnia": KnownModel("ab372b84-432f-44f5-bacc-c2542465f712", None),
    "character-3": KnownModel("d1dd37a3-e39a-4854-a298-6510289f9cf2", "together/hedra-character-3"),
}


def _uuid_text(value: Any) -> str:
    text = str(value).strip()
    if not is_uuid(text):
        raise ValueError("should be a UUID")
    return text.lower()


def _non_empty(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("should not be empty")
    return value


AssetId = Annotated[str, BeforeValidator(_uuid_text)]
NonEmptyText = Annotated[str, BeforeValidator(_non_empty)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class SpeechRequest(_Body):
    """A ``text_to_speech`` request, or the inline speech of a video. Limits are those of Hedra's schema."""

    type: str = "text_to_speech"
    # require_voice() requires it: an estimate can do without.
    voice_id: AssetId | None = None
    text: NonEmptyText
    language: str = "auto"
    speed: float = Field(default=1.0, ge=0.7, le=1.2)
    stability: float = Field(default=1.0, ge=0.0, le=1.0)


class VideoInputs(_Body):
    """The ``generated_video_inputs`` of a video request."""

    text_prompt: NonEmptyText
    aspect_ratio: str = Field(pattern=r"^\d{1,3}:\d{1,3}$")
    resolution: NonEmptyText
    duration_ms: int | None = Field(default=None, gt=0)
    seed: int | None = None


class VideoRequest(_Body):
    """A request for a video from a portrait and a voice."""

    type: str = "video"
    name: str | None = Field(default=None, max_length=255)
    ai_model_id: AssetId | None = None
    model_slug: NonEmptyText | None = None
    start_keyframe_id: AssetId | None = None
    audio_id: AssetId | None = None
    audio_generation: SpeechRequest | None = None
    audio_start_ms: int | None = None
    workspace_id: str | None = None
    generated_video_inputs: VideoInputs


def model_fields(model: str, catalogue: Iterable[Model] = ()) -> dict[str, str]:
    """
    Return the field that names a model in a request.

    :param model: A short name (``avatar``, ``omnia``, ``character-3``), a slug or an id.
    :param catalogue: The account's models; empty by default. Their slug has precedence, because Hedra
        deprecates ids.
    :return: ``{"model_slug": ...}``, or ``{"ai_model_id": ...}`` if no slug is known.
    :raises HedraValueError: If it can't be the name of a model.
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
            f"model: {shown(model)} is not the name of a model.",
            param="model",
            remedy=f"Use one of {', '.join(KNOWN_MODELS)}, or a slug or id from GET /models.",
        )
    return {"model_slug": named}


def find_model(model: str, catalogue: Iterable[Model]) -> Model | None:
    """
    Return a model of the catalogue.

    :param model: A short name, a slug or an id.
    :param catalogue: The account's models.
    :return: None if the catalogue lacks it.
    """
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

    :param image_id: The asset id of the portrait.
    :param audio_id: The asset id of the audio, which sets the length of the video. Either this or ``text``.
    :param text: The text that Hedra speaks, with ``voice_id``.
    :param voice_id: The voice of the speech.
    :param language: The language of the speech; ``auto`` by default.
    :param speed: The speed of the speech, 0.7 to 1.2; 1.0 by default.
    :param stability: The stability of the speech, 0 to 1; 1.0 by default.
    :param text_prompt: A description of the video.
    :param model: The field that names the model, from :func:`model_fields`.
    :param aspect_ratio: E.g. ``9:16``.
    :param resolution: E.g. ``720p``.
    :param duration_ms: The length of the video in milliseconds; by default that of the audio.
    :param audio_start_ms: Where the audio begins, in milliseconds; below 0 prepends silence. 0 by default.
    :param seed: The seed of the generation; random by default.
    :param name: The name of the generation at Hedra.
    :param workspace_id: The workspace that pays; by default the key's own.
    :param extra_request: Further fields, merged over the body; empty by default.
    :return: The body, without ids.
    :raises HedraValueError: If a field is wrong; the error names it, its value and a right one.
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
    return validate(VideoRequest, deep_merge(body, extra_request or {}))


def require_one_voice(audio: str | None, text: str | None, voice_id: str | None) -> None:
    """
    Check that a video has exactly one voice.

    :param audio: The audio: an asset id, path or URI.
    :param text: The text to speak.
    :param voice_id: The voice of the text.
    :raises HedraValueError: If audio and text are both given or both missing, or a text has no voice.
    """
    if audio and text:
        raise HedraValueError(
            "audio and text are both given.",
            remedy="Give audio (a recording), or text with voice_id (Hedra makes the speech), not both.",
        )
    if not audio and not text:
        raise HedraValueError(
            "Neither audio nor text is given.",
            remedy="Give audio (an asset id, path or URI), or text with voice_id. With a v3 key an upload "
            "has no asset id: pass its whole output, e.g. audio=upload.output.",
        )
    if text and not voice_id:
        raise HedraValueError(
            "text is given without voice_id.",
            remedy="Give the id of a voice: HedraHook().list_voices() returns them all.",
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
"""Fields with the ids of a generation and its result. Only this package sets them."""


MAX_BATCH_SIZE = 8
"""The most variations of one request, by Hedra's v2 schema."""


def reject_ids(body: Mapping[str, Any]) -> None:
    """
    Reject a body that sets the ids of its generation.

    :param body: The body.
    :raises HedraValueError: If it sets one; the error names the field.
    """
    own = sorted(IDENTITY_FIELDS & body.keys())
    if own:
        raise HedraValueError(
            f"request: {', '.join(own)} is set by this package.",
            param=own[0],
            remedy="Remove it. To pay once for several tasks, give them the same idempotency_key.",
        )


def batch_size(body: Mapping[str, Any]) -> int:
    """
    Return the number of variations of a body.

    :param body: The body.
    :return: Its ``batch_size``; 1 without one.
    :raises HedraValueError: If it is not a whole number from 1 to 8.
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
            remedy="For more variations, map the task.",
        )
    return size


def deep_merge(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """
    Merge a mapping over another; nested mappings are merged too.

    :param body: The lower one; it is not changed.
    :param extra: The upper one: its values have precedence.
    """
    result = dict(body)
    for name, value in extra.items():
        below = result.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            value = deep_merge(below, value)
        result[name] = value
    return result


def validate(kind: type[_Body], body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Check a body, and drop the fields that are None.

    :param kind: The model to check it with.
    :param body: The body.
    :return: The body as JSON.
    :raises HedraValueError: If fields are wrong; the error names each, its value and what is right.
    """
    require_json(body, "request")
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


def check_against_model(body: Mapping[str, Any], model: Model, *, has_audio: bool = False) -> None:
    """
    Check a video request against the published limits of its model.

    :param body: The request.
    :param model: Its model, from the catalogue.
    :param has_audio: Whether the body gets its audio later. Default: False.
    :raises HedraValueError: If a limit is exceeded; the error names the field, its value and the limit.
    """
    inputs = body.get("generated_video_inputs") or {}
    name = model.name or model.slug or model.id
    ratio, resolution = inputs.get("aspect_ratio"), inputs.get("resolution")
    if model.aspect_ratios and ratio and not model.aspect_ratio_range and ratio not in model.aspect_ratios:
        raise _not_accepted("aspect_ratio", ratio, name, ", ".join(model.aspect_ratios))
    if model.resolutions and resolution and resolution not in model.resolutions:
        raise _not_accepted("resolution", resolution, name, ", ".join(model.resolutions))
    duration = inputs.get("duration_ms")
    if model.max_duration_ms and duration and duration > model.max_duration_ms:
        raise _not_accepted("duration_ms", duration, name, f"at most {model.max_duration_ms} ms")
    has_audio = has_audio or bool(body.get("audio_id") or body.get("audio_generation"))
    if model.requires_audio_input and not has_audio:
        raise _not_accepted("audio_id", None, name, "a portrait and an audio")
    prompt = inputs.get("text_prompt") or ""
    if model.max_prompt_length and len(prompt) > model.max_prompt_length:
        raise _not_accepted(
            "text_prompt", f"{len(prompt)} characters", name, f"at most {model.max_prompt_length}"
        )


def not_in_catalogue(model: str, catalogue: Iterable[Model]) -> HedraValueError:
    """
    Build the error of a model that the account does not have.

    :param model: The name that was given.
    :param catalogue: The account's models.
    """
    slugs = sorted(filter(None, (candidate.slug or candidate.id for candidate in catalogue)))
    return HedraValueError(
        f"model: {shown(model)} is not in this account's catalogue.",
        param="model",
        remedy=f"Use one of: {', '.join(slugs[:20])}."
        if slugs
        else "The catalogue is empty: check the plan.",
    )


def _not_accepted(param: str, value: Any, model: Any, accepted: str) -> HedraValueError:
    return HedraValueError(
        f"{param}: {model} does not accept {shown(value)}; it accepts {accepted}.",
        param=param,
        remedy="Nothing was submitted.",
    )
