"""Decides whether a generation can be made, before anything is charged.

First the shape, by pydantic, so that a 422 has the form of FastAPI's. Then the rules: models, assets,
lengths, sizes. The rules only see values of the types that the shape names.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticCustomError

from hedra_provider.sandbox import catalogue, rejections
from hedra_provider.sandbox.records import Asset, Job, JsonObject, Plan
from hedra_provider.sandbox.rejections import Rejection
from hedra_provider.sandbox.speech import speech_duration_ms

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_VOICE_IDS = frozenset(voice["id"] for voice in catalogue.VOICES)

_NOT_SIMULATED = frozenset(
    (
        "image", "image_to_image", "image_upscale", "video_upscale", "video_to_video", "motion_control",
        "speech_to_speech", "voice_clone", "audio_isolation", "text_to_sound",
    )
)  # fmt: skip


class _Shape(BaseModel):
    # "model_slug" is Hedra's name, not a clash with pydantic.
    model_config = ConfigDict(protected_namespaces=(), extra="ignore", allow_inf_nan=False)


class VideoInputs(_Shape):
    """``GeneratedVideoInputs``, as far as avatars use them."""

    text_prompt: str
    ai_model_id: UUID | None = None
    model_slug: str | None = None
    resolution: str | None = None
    aspect_ratio: str | None = None
    duration_ms: int | None = None
    seed: int | None = None


class _Submit(_Shape):
    workspace_id: str | None = None
    generation_id: UUID | None = None
    generation_ids: list[UUID] | None = None
    reserved_asset_id: UUID | None = None
    reserved_asset_ids: list[UUID] | None = None
    name: str | None = Field(None, max_length=255)
    model_slug: str | None = None


class SpeechRequest(_Submit):
    """``GenerateTextToSpeechRequest``; also inside a video request as ``audio_generation``."""

    type: Literal["text_to_speech"] = "text_to_speech"
    voice_id: UUID
    model_id: UUID | None = None
    text: str
    stability: float = Field(1.0, ge=0, le=1)
    speed: float = Field(1.0, ge=0.7, le=1.2)
    language: str = "auto"

    @field_validator("language")
    @classmethod
    def _known_language(cls, value: str) -> str:
        if value not in catalogue.LANGUAGES:
            expected = " or ".join(repr(language) for language in sorted(catalogue.LANGUAGES))
            raise PydanticCustomError("enum", "Input should be {expected}", {"expected": expected})
        return value


class VideoRequest(_Submit):
    """``GenerateVideoRequest``, as far as avatars use it."""

    type: Literal["video"] = "video"
    ai_model_id: UUID | None = None
    start_keyframe_id: UUID | None = None
    start_keyframe_url: str | None = None
    audio_id: UUID | list[UUID] | None = None
    audio_generation: SpeechRequest | None = None
    audio_start_ms: int | None = None
    generated_video_inputs: VideoInputs
    batch_size: int = Field(1, ge=1, le=8)


class AssetRequest(_Shape):
    """``CreateAssetRequest``."""

    name: str
    type: Literal["text", "image", "audio", "video", "voice", "three_d", "rich_text"]
    workspace_id: str | None = None
    reserved_asset_id: UUID | None = None


def _tag(value: Any) -> str | None:
    """The request's type as a text: pydantic looks it up in a table, where an object would be an error."""
    if not isinstance(value, dict):
        return None
    kind = value.get("type", "video")
    return kind if isinstance(kind, str) else json.dumps(kind)


SubmitRequest = Annotated[
    Annotated[VideoRequest, Tag("video")] | Annotated[SpeechRequest, Tag("text_to_speech")],
    Discriminator(_tag),
]
_SUBMIT: TypeAdapter[VideoRequest | SpeechRequest] = TypeAdapter(SubmitRequest)
_ASSET = TypeAdapter(AssetRequest)


def read_submit(raw: Any) -> VideoRequest | SpeechRequest:
    """Read the body of ``POST /generations``.

    :param raw: the body.
    :raises Rejection: 422 in FastAPI's shape, 400 for a type of Hedra's that the sandbox does not make.
    """
    if (kind := _tag(raw)) in _NOT_SIMULATED:
        raise rejections.bad_request(f"The sandbox makes video and text_to_speech; {kind} is not simulated.")
    return _read(_SUBMIT, raw)


def read_asset(raw: Any) -> AssetRequest:
    """Read the body of ``POST /assets``.

    :param raw: the body.
    :raises Rejection: 422 in FastAPI's shape, 400 for a type that cannot be uploaded to the sandbox.
    """
    request = _read(_ASSET, raw)
    if request.type not in ("image", "audio", "video"):
        raise rejections.bad_request(f"Assets of type {request.type} cannot be uploaded to the sandbox.")
    return request


def _read(adapter: TypeAdapter[T], raw: Any) -> T:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        rows = error.errors(include_url=False, include_context=False)
        raise Rejection(422, {"detail": [{**row, "loc": ["body", *row["loc"]]} for row in rows]}) from None


def plan(
    request: VideoRequest | SpeechRequest,
    find_asset: Callable[[str], Asset | None],
) -> Plan:
    """Decide what to make and what it costs.

    :param request: a well-formed request.
    :param find_asset: returns an asset by id.
    :raises Rejection: 400 or 404 when it cannot be made.
    """
    return _plan_video(request, find_asset) if isinstance(request, VideoRequest) else _plan_speech(request)


def _plan_speech(request: SpeechRequest) -> Plan:
    duration_ms = _speech_ms(request)
    job = Job("audio", duration_ms, speech=request.text, speech_ms=duration_ms)
    return Plan("text_to_speech", catalogue.price(catalogue.SPEECH_MODEL, duration_ms), job)


def _speech_ms(request: SpeechRequest) -> int:
    if request.model_slug is not None or request.model_id is not None:
        model_id = str(request.model_id) if request.model_id else None
        model = catalogue.find_model(slug=request.model_slug, model_id=model_id)
        if model is None or model["type"] != "text_to_speech":
            raise rejections.not_found("Model")
    if str(request.voice_id) not in _VOICE_IDS:
        raise rejections.not_found(f"Voice {request.voice_id}")
    limit = catalogue.SPEECH_MODEL["max_prompt_length"]
    if not request.text.strip():
        raise rejections.bad_request("text must not be empty.")
    if len(request.text) > limit:
        raise rejections.bad_request(f"text has {len(request.text)} characters; at most {limit} are allowed.")
    return speech_duration_ms(request.text, request.speed)


def _plan_video(request: VideoRequest, find_asset: Callable[[str], Asset | None]) -> Plan:
    inputs = request.generated_video_inputs
    model = _video_model(request)
    ratio = inputs.aspect_ratio or model["aspect_ratios"][0]
    resolution = inputs.resolution or model["default_resolution"]
    _one_of("aspect_ratio", ratio, model["aspect_ratios"])
    _one_of("resolution", resolution, model["resolutions"])
    if len(inputs.text_prompt) > model["max_prompt_length"]:
        raise rejections.bad_request(f"text_prompt is longer than {model['max_prompt_length']} characters.")
    if inputs.duration_ms is not None and inputs.duration_ms <= 0:
        raise rejections.unprocessable(
            ["body", "video", "generated_video_inputs", "duration_ms"],
            "Input should be greater than 0", "greater_than", inputs.duration_ms,
        )  # fmt: skip

    slots = {slot["type"]: slot for mode in model["inputs"] for slot in mode["slots"]}
    image = _portrait(request, slots["image"], find_asset)
    audio = None
    speech = request.audio_generation
    speech_ms = 0
    if model["requires_audio_input"]:
        # The schema: "If provided (and audio_id is not)". So an audio_id wins over inline speech.
        if request.audio_id is not None:
            speech = None
            audio = _audio(request.audio_id, slots["audio"], find_asset)
        elif speech is not None:
            speech_ms = _speech_ms(speech)
        else:
            raise rejections.bad_request("This model needs audio: give audio_id or audio_generation.")
    elif request.audio_id is not None or speech is not None:
        raise rejections.bad_request("This model takes no audio.")

    start_ms = request.audio_start_ms or 0
    sound_ms = audio.facts.duration_ms if audio else speech_ms
    if start_ms and start_ms >= sound_ms:
        raise rejections.bad_request(f"audio_start_ms is {start_ms}; the audio is only {sound_ms} ms long.")
    if -start_ms > model["max_duration_ms"]:
        limit = f"{model['name']} makes at most {model['max_duration_ms']} ms of video"
        raise rejections.bad_request(f"audio_start_ms is {start_ms}; {limit}.")
    duration_ms = _duration_ms(inputs.duration_ms, sound_ms - start_ms if sound_ms else 5000, model)
    credits = catalogue.price(model, duration_ms, resolution)
    if speech:
        credits += catalogue.price(catalogue.SPEECH_MODEL, speech_ms)
    width, height = catalogue.SIZES[ratio][resolution]
    job = Job(
        kind="video",
        duration_ms=duration_ms,
        image=image.file,
        audio=audio.file if audio else None,
        speech=speech.text if speech else None,
        speech_ms=speech_ms,
        audio_start_ms=start_ms,
        width=width,
        height=height,
    )
    return Plan("video", credits, job, image_id=image.id, audio_id=audio.id if audio else None)


def _video_model(request: VideoRequest) -> JsonObject:
    # The newer schema has both also inside generated_video_inputs.
    slug = request.model_slug or request.generated_video_inputs.model_slug
    model_id = request.ai_model_id or request.generated_video_inputs.ai_model_id
    if slug is None and model_id is None:
        raise rejections.bad_request("Give model_slug or ai_model_id.")
    model = catalogue.find_model(slug=slug, model_id=str(model_id) if model_id else None)
    if model is None or model["type"] != "video":
        raise rejections.not_found("Model")
    return model


def _one_of(name: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise rejections.bad_request(
            f"{name} {value!r} is not supported by this model; use one of {', '.join(allowed)}."
        )


def _portrait(request: VideoRequest, slot: JsonObject, find_asset: Callable[[str], Asset | None]) -> Asset:
    if request.start_keyframe_id is None:
        if request.start_keyframe_url is not None:
            raise rejections.bad_request(
                "The sandbox fetches nothing from the network: upload the start keyframe."
            )
        raise rejections.bad_request("This model needs a start keyframe: give start_keyframe_id.")
    image = _uploaded("start_keyframe_id", str(request.start_keyframe_id), "image", slot, find_asset)
    smallest, largest = min(image.facts.width, image.facts.height), max(image.facts.width, image.facts.height)
    if smallest < slot["min_dimension_px"] or largest > slot["max_dimension_px"]:
        size = f"{image.facts.width}x{image.facts.height}"
        limits = f"{slot['min_dimension_px']} to {slot['max_dimension_px']}"
        raise rejections.bad_request(f"The start keyframe is {size} pixels; each side must be {limits}.")
    return image


def _audio(ids: UUID | list[UUID], slot: JsonObject, find_asset: Callable[[str], Asset | None]) -> Asset:
    if isinstance(ids, list):
        if len(ids) != 1:
            raise rejections.bad_request("The sandbox makes videos of one speaker: give one audio_id.")
        ids = ids[0]
    audio = _uploaded("audio_id", str(ids), "audio", slot, find_asset)
    if audio.facts.duration_ms < slot["min_duration_ms"]:
        raise rejections.bad_request(f"The audio is shorter than {slot['min_duration_ms']} ms.")
    return audio


def _uploaded(
    name: str, asset_id: str, asset_type: str, slot: JsonObject, find_asset: Callable[[str], Asset | None]
) -> Asset:
    asset = find_asset(asset_id)
    if asset is None:
        raise rejections.not_found(f"Asset {asset_id} ({name})")
    if asset.type != asset_type:
        raise rejections.bad_request(
            f"{name} must be an asset of type {asset_type}; {asset_id} is of type {asset.type}."
        )
    if asset.file is None:
        raise rejections.bad_request(f"{name}: nothing was uploaded to asset {asset_id} yet.")
    if asset.size > slot["max_file_size_bytes"]:
        raise rejections.bad_request(f"{name}: the file is larger than {slot['max_file_size_bytes']} bytes.")
    return asset


def _duration_ms(requested_ms: int | None, natural_ms: int, model: JsonObject) -> int:
    """Length of the video: the requested one (which trims or pads), else that of the audio."""
    duration_ms = natural_ms if requested_ms is None else requested_ms
    limit_ms = model["max_duration_ms"]
    if duration_ms > limit_ms + catalogue.DURATION_TOLERANCE_MS:
        what = "The audio" if requested_ms is None else "duration_ms"
        raise rejections.bad_request(
            f"{what} is {duration_ms} ms; {model['name']} takes at most {limit_ms} ms."
        )
    return duration_ms
