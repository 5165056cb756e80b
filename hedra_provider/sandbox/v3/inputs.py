"""Whether an ``input`` can be made into a job, what it makes, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hedra_provider.sandbox import envelope
from hedra_provider.sandbox.media import Facts
from hedra_provider.sandbox.records import Job as Work
from hedra_provider.sandbox.speech import speech_duration_ms
from hedra_provider.sandbox.v3 import models, sniffing
from hedra_provider.sandbox.v3.records import File, Planned

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.rejections import Rejection

    Find = Callable[[str, "Reference"], File]
    """Returns the file behind a reference, for the field of that name."""

_MAX_DETAILS = 20

# pydantic's names of what is wrong, in Hedra's words.
_REASONS = {
    "missing": "required", "literal_error": "enum", "extra_forbidden": "unknown",
    "greater_than_equal": "minimum",
    "less_than_equal": "maximum", "string_pattern_mismatch": "pattern", "string_too_long": "max_length",
    "too_long": "max_items", "too_short": "min_items", "union_tag_invalid": "enum",
    "union_tag_not_found": "required",
}  # fmt: skip


class _Shape(BaseModel):
    # Strict, as JSON Schema is: "1" is no number.
    model_config = ConfigDict(extra="forbid", strict=True)


class UrlReference(_Shape):
    """A handle of ``POST /files``."""

    source: Literal["url"]
    url: str


class AssetReference(_Shape):
    """The output of an own finished job."""

    source: Literal["asset"]
    asset_id: str


Reference = Annotated[UrlReference | AssetReference, Field(discriminator="source")]
_Share = Annotated[float, Field(ge=0, le=1)]
_Point = Annotated[list[_Share], Field(min_length=2, max_length=2)]
_Text = Annotated[str, Field(pattern=models.TEXT_PATTERN)]


class AvatarInput(_Shape):
    """The input of an avatar model."""

    prompt: _Text
    aspect_ratio: Literal["1:1", "4:3", "3:4", "16:9", "9:16", "9:21", "21:9"]
    resolution: Literal["540p", "720p", "1080p"]
    start_image: Reference
    audio: Reference | Annotated[list[Reference], Field(min_length=1, max_length=models.MAX_AUDIOS)]
    duration_ms: int | None = Field(None, le=models.MAX_DURATION_MS)
    bounding_box_target: _Point | list[_Point] | None = None
    num_outputs: Literal[1] = 1


class SpeechInput(_Shape):
    """The input of a speech model."""

    text: _Text
    voice_id: str
    stability: float = Field(1.0, ge=0, le=1)
    speed: float = Field(1.0, ge=0.7, le=1.2)
    language: str = "auto"


_AVATAR = TypeAdapter(AvatarInput)
_SPEECH = TypeAdapter(SpeechInput)


def plan(model: str, raw: Any, find: Find, *, any_media: bool) -> Planned:
    """Decide what to make.

    :param model: a model that exists.
    :param raw: the ``input`` of the body.
    :param find: finds media; raises Rejection for a reference that is not usable.
    :param any_media: accept files of unknown type, as a sandbox without media must.
    :raises Rejection: 400 with everything that is wrong.
    """
    if model in models.SPEECH_MODELS:
        return _plan_speech(model, raw)
    return _plan_avatar(raw, find, any_media=any_media)


def require_known(model: str) -> None:
    """Reject a model that does not exist.

    :param model: its id.
    :raises Rejection: 404, or 410 for a retired one.
    """
    if model in models.RETIRED:
        successor = models.RETIRED[model]
        message = f"Model '{model}' has been retired. Use '{successor}' instead."
        raise envelope.rejection(410, message, replaced_by=successor)
    if model not in models.SPEECH_MODELS and model not in models.AVATAR_MODELS:
        raise envelope.not_found(f"Model '{model}'")


def _plan_speech(model: str, raw: Any) -> Planned:
    speech: SpeechInput = _read(_SPEECH, raw)
    limit = models.SPEECH_MODELS[model]
    if len(speech.text) > limit:
        raise envelope.invalid("input.text", f"Input should have at most {limit} characters", "max_length")
    if speech.voice_id not in {voice["id"] for voice in models.VOICES}:
        raise envelope.invalid(
            "input.voice_id", f"The voice does not exist or {model} has no such voice", "voice"
        )
    length = speech_duration_ms(speech.text, speech.speed)
    work = Work("audio", length, speech=speech.text, speech_ms=length)
    price = models.speech_price(model, len(speech.text))
    return Planned(price, work, "audio/wav", Facts(duration_ms=length))


def _plan_avatar(raw: Any, find: Find, *, any_media: bool) -> Planned:
    avatar: AvatarInput = _read(_AVATAR, raw)
    if isinstance(avatar.audio, list) and len(avatar.audio) > 1:
        raise envelope.invalid(
            "input.audio", "The sandbox makes videos of one speaker: give one audio", "max_items"
        )
    if avatar.duration_ms is not None and avatar.duration_ms <= 0:
        raise envelope.invalid("input.duration_ms", "Input should be greater than 0", "minimum")
    several = isinstance(avatar.audio, list)
    reference = avatar.audio[0] if isinstance(avatar.audio, list) else avatar.audio
    image = _medium("input.start_image", avatar.start_image, "image", models.MAX_IMAGE_BYTES, find, any_media)
    where = "input.audio[0]" if several else "input.audio"
    audio = _medium(where, reference, "audio", models.MAX_AUDIO_BYTES, find, any_media)
    heard_ms = audio.facts.duration_ms
    if not models.MIN_AUDIO_MS <= heard_ms <= models.MAX_DURATION_MS:
        limits = f"{models.MIN_AUDIO_MS} to {models.MAX_DURATION_MS} ms"
        reason = "min_duration_ms" if heard_ms < models.MIN_AUDIO_MS else "max_duration_ms"
        raise envelope.invalid(where, f"The audio is {heard_ms} ms long; allowed are {limits}", reason)
    length = avatar.duration_ms or heard_ms
    width, height = models.size(avatar.aspect_ratio, avatar.resolution)
    work = Work("video", length, image=image.file, audio=audio.file, width=width, height=height)
    price = models.avatar_price(length, avatar.resolution)
    return Planned(price, work, "video/mp4", Facts(width, height, length))


def _medium(where: str, reference: Reference, kind: str, max_bytes: int, find: Find, any_media: bool) -> File:
    file = find(where, reference)
    is_unknown = any_media and file.media_type == sniffing.UNKNOWN
    if not is_unknown and not file.media_type.startswith(f"{kind}/"):
        raise envelope.invalid(where, f"A file of type {file.media_type} is no {kind}", "content_type")
    if file.unreadable is not None:
        raise envelope.invalid(where, file.unreadable, "unreadable")
    if file.size > max_bytes:
        raise envelope.invalid(where, f"The file has more than {max_bytes} bytes", "max_file_size_bytes")
    return file


def _read(adapter: TypeAdapter[Any], raw: Any) -> Any:
    try:
        return adapter.validate_python(raw)
    except ValidationError as error:
        raise _rejection(error) from None


def _rejection(error: ValidationError) -> Rejection:
    details: dict[str, dict[str, Any]] = {}
    for row in error.errors(include_url=False, include_input=False):
        field = "input" + "".join(_step(step) for step in row["loc"])
        reason = _REASONS.get(row["type"], "type" if "type" in row["type"] else row["type"])
        allowed = None
        if reason == "enum":
            expected = row.get("ctx", {}).get("expected") or row.get("ctx", {}).get("expected_tags", "")
            allowed = [word.strip(" '") for word in str(expected).replace(" or ", ", ").split(",")]
        details.setdefault(field, envelope.detail(field, row["msg"], reason, allowed))
    return envelope.all_invalid(list(details.values())[:_MAX_DETAILS])


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    # pydantic also names the alternatives of a union, which are no fields.
    if step in ("url", "asset") or not step.replace("_", "").isalnum() or not step.islower():
        return f".{step}" if step == "url" else ""
    return f".{step}"
