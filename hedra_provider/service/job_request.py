"""The ``input`` of a v3 job, made from the arguments that both versions share, and its fingerprint."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import clean, shown
from hedra_provider.api.requests import KNOWN_MODELS, deep_merge
from hedra_provider.api.values import is_uuid, require_json
from hedra_provider.service.differences import alternative_to, reject_v2_form, version_of_asset
from hedra_provider.service.languages import language_code

AVATAR_NAMES: Mapping[str, str] = {"prompt": "text_prompt", "start_image": "image"}
"""What ``HedraAvatarVideoOperator`` calls the fields of an avatar's input."""

AVATAR_MEDIA = ("start_image", "audio")
"""The fields of an avatar's input that are files."""

_MODELS = {"avatar": "hedra-avatar", "character-3": "hedra-character-3"}
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)

Media = Mapping[str, str | Sequence[str]]
"""Files by field of the input: one for each field, or a list."""


def model_name(model: str) -> str:
    """
    Return the name of a model on v3.

    :param model: A short name (``avatar``, ``character-3``), a name of v3 (``hedra-avatar``), or the slug or
        id of one of these models on v2 (``together/hedra-avatar``).
    :raises HedraValueError: If v3 does not have it, or if it can't be the name of a model.
    """
    wanted = model.strip().lower()
    for short, known in KNOWN_MODELS.items():
        if wanted in {short, known.id, known.slug, f"hedra-{short}"}:
            if short in _MODELS:
                return _MODELS[short]
            raise HedraValueError(
                f"model: API v3, which the connection's key is for, does not have {shown(model)}.",
                param="model",
                remedy=f"Use {' or '.join(_MODELS)}, which both versions have. Nothing was submitted.",
            )
    if not _MODEL_NAME.fullmatch(model.strip()) or is_uuid(wanted):
        raise HedraValueError(
            f"model: {shown(model)} is not the name of a model on API v3.",
            param="model",
            remedy=f"Use {' or '.join(_MODELS)}, or an id of GET /models. Nothing was submitted.",
        )
    return model.strip()


def avatar_input(
    *,
    text_prompt: str,
    aspect_ratio: str,
    resolution: str,
    duration_ms: int | None = None,
    audio_start_ms: int | None = None,
    seed: int | None = None,
    extra_request: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """
    Return the input of an avatar's job, without its files.

    A value that v3 has no field for stays in the input, so that
    :func:`~hedra_provider.service.input_schema.input_problems` names it among all other problems. A value
    that changes nothing (``audio_start_ms=0``, ``batch_size=1``) is left out.

    :param text_prompt: A description of the video.
    :param aspect_ratio: E.g. ``9:16``.
    :param resolution: E.g. ``720p``.
    :param duration_ms: The length of the video in milliseconds. Default: None, the length of the audio.
    :param audio_start_ms: Where the audio begins, in milliseconds, which v3 does not have. Default: None.
    :param seed: The seed. Default: None, random.
    :param extra_request: Further fields of the input, merged over the others. Default: none.
    :raises HedraValueError: If a value can't be sent as JSON.
    """
    values = {
        "prompt": text_prompt,
        "aspect_ratio": aspect_ratio,
        "resolution": resolution,
        "duration_ms": duration_ms,
        "audio_start_ms": audio_start_ms or None,
        "seed": seed,
    }
    merged = deep_merge(values, extra_request or {})
    require_json(merged, "request")
    if str(merged.get("batch_size")).strip() == "1":
        del merged["batch_size"]
    return {name: value for name, value in merged.items() if value is not None}


def speech_input(
    *,
    text: str,
    voice_id: str | None = None,
    language: str = "auto",
    speed: float = 1.0,
    stability: float = 1.0,
) -> dict[str, Any]:
    """
    Return the input of a speech job. Values that are Hedra's defaults are left out: not every model has them.

    :param text: The text.
    :param voice_id: The id of the voice. Default: None, not known yet.
    :param language: The language, a name or a code. Default: ``auto``.
    :param speed: The speed. Default: 1.0.
    :param stability: How steady the voice is. Default: 1.0.
    :raises HedraValueError: If a value can't be sent as JSON.
    """
    values: dict[str, Any] = {"text": text}
    if voice_id is not None:
        values["voice_id"] = voice_id
    if language.strip() != "auto":
        values["language"] = language_code(language)
    values |= {name: value for name, value in (("speed", speed), ("stability", stability)) if value != 1}
    require_json(values, "request")
    return values


def fill_media(values: Mapping[str, Any], handles: Media) -> dict[str, Any]:
    """
    Return an input with its files.

    :param values: The input. A file that it has already stays as it is.
    :param handles: By field: the handle of an upload, or the id of an asset of v3 (``asset_...``), or a list.
    """
    filled = {
        name: _reference(one) if isinstance(one, str) else [_reference(each) for each in one]
        for name, one in handles.items()
    }
    return {**filled, **values}


def media_references(values: Mapping[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """
    Return an input in which a medium may be the id of an asset, or the output of a task that has one.

    :param values: The input. Of a dict with ``asset_id`` and without ``source``, only the id is sent.
    :param schema: The model's ``input_schema``, which names the media; None: a text is never an id.
    """
    known = (schema or {}).get("properties")
    media = {
        name for name, rule in (known or {}).items() if isinstance(rule, Mapping) and "media_type" in rule
    }

    def reference(value: Any, *, is_medium: bool) -> Any:
        if isinstance(value, (list, tuple)):
            return [reference(one, is_medium=is_medium) for one in value]
        held = value.get("asset_id") if isinstance(value, Mapping) and "source" not in value else value
        if isinstance(held, str) and version_of_asset(held) == 3 and (is_medium or held is not value):
            return _reference(held)
        return value

    return {name: reference(value, is_medium=name in media) for name, value in values.items()}


def request_fingerprint(model: str, values: Mapping[str, Any], media: Media | None = None) -> str:
    """
    Return the fingerprint of a request: the same for the same model, fields and bytes of files.

    A handle differs with each upload, so it is replaced. ``1`` and ``1.0`` are the same number.

    :param model: The model, as v3 names it.
    :param values: The input, with or without the files of ``media``.
    :param media: By field: the SHA-256 of a file in hex, or the id of an asset, or a list. Default: none.
    :return: A SHA-256 in hex.
    """
    canonical = json.dumps(
        {"model": model, "input": fingerprint_fields(values, media)},
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        allow_nan=False,
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def fingerprint_fields(values: Mapping[str, Any], media: Media | None = None) -> dict[str, Any]:
    """
    Return the fields that a fingerprint is made of: an input in which the content of each file stands for it.

    :param values: The input, with or without the files of ``media``.
    :param media: As in :func:`request_fingerprint`. Default: none.
    """
    content = {
        name: _content(one) if isinstance(one, str) else [_content(each) for each in one]
        for name, one in (media or {}).items()
    }
    return {name: _canonical(one) for name, one in {**values, **content}.items()}


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """
    What ``HedraGenerateOperator`` submits on v3.

    :param model: The model, as v3 names it.
    :param input: Its input.
    :param webhook: The URL that Hedra notifies at the end. It may hold a secret. Default: None.
    """

    model: str
    input: Mapping[str, Any] = field(repr=False)
    webhook: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, request: Mapping[str, Any]) -> JobRequest:
        """
        Read and check the form of a request, ``{"model": ..., "input": {...}, "webhook": ...}``.

        :param request: The request. Its input is checked by
            :func:`~hedra_provider.service.input_schema.input_problems`.
        :raises HedraValueError: If it has the form of v2, or another wrong one.
        """
        reject_v2_form(request)
        model, values, webhook = (request.get(name) for name in ("model", "input", "webhook"))
        problems = []
        if not isinstance(model, str) or not model.strip():
            problems.append(("model", f"{shown(model)} is not the name of a model"))
        if not isinstance(values, Mapping):
            problems.append(("input", f"{shown(values)} is not an object"))
        is_url = isinstance(webhook, str) and webhook.strip().lower().startswith(("https://", "http://"))
        if webhook is not None and not is_url:
            problems.append(("webhook", "it is not a URL that begins with https://"))
        for name in sorted(map(str, request.keys() - {"model", "input", "webhook"})):
            known = alternative_to(name)
            problems.append(
                (clean(name, max_length=100), known or "a request has model, input and webhook, nothing else")
            )
        if problems:
            raise HedraValueError(
                "; ".join(f"request.{name}: {what}" for name, what in problems) + ".",
                param=f"request.{problems[0][0]}",
                violations=[{"field": f"request.{name}", "message": what} for name, what in problems],
                remedy="Nothing was submitted.",
            )
        require_json(values, "request.input")
        return cls(
            model=model_name(str(model)),
            input={name: value for name, value in dict(values or {}).items() if value is not None},
            webhook=webhook.strip() if isinstance(webhook, str) else None,
        )


def _reference(handle: str) -> dict[str, str]:
    if version_of_asset(handle) == 3:
        return {"source": "asset", "asset_id": handle}
    return {"source": "url", "url": handle}


def _content(one: str) -> dict[str, str]:
    return {"sha256": one} if _SHA256.fullmatch(one) else {"asset_id": one}


def _canonical(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _canonical(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
