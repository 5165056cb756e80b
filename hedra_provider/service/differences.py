"""What only one version of Hedra's API has. It is named before anything is sent, with the alternative."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import shown
from hedra_provider.api.requests import IDENTITY_FIELDS
from hedra_provider.api.values import is_uuid
from hedra_provider.records import ApiVersion, version_of_id

_V3_ASSET = re.compile(r"asset_[\w-]{1,80}", re.ASCII)

_IDS = "v3 makes the ids of its jobs itself; leave it out, and pay once by idempotency_key of the operator"
_MODEL = "give model, an argument of its own"
_ALTERNATIVES: Mapping[str, str] = {
    "type": "leave it out, the model decides what is generated",
    "generated_video_inputs": "put its fields into the request itself (text_prompt is prompt on v3), or give "
    "them as arguments of HedraAvatarVideoOperator",
    "text_prompt": "its name on v3 is prompt",
    "audio_generation": "give text and a voice to HedraAvatarVideoOperator, which makes the speech first",
    "audio_id": 'its name on v3 is audio: {"source": "asset", "asset_id": "asset_..."}',
    "start_keyframe_id": 'its name on v3 is start_image: {"source": "asset", "asset_id": "asset_..."}',
    **dict.fromkeys(("ai_model_id", "model_slug", "model_id"), _MODEL),
    "batch_size": "v3 makes one video for each request; for more, map the task",
    "workspace_id": "a v3 key belongs to one workspace, which pays; leave it out, and use a connection "
    "with a key of that workspace",
    "audio_start_ms": "cut the audio, or put silence in front of it, before this task",
    "seed": "leave it out, this model takes none",
    "name": "leave it out, v3 stores no names",
    **dict.fromkeys(sorted(IDENTITY_FIELDS), _IDS),
    "idempotency_key": "give idempotency_key to the operator, which makes Hedra's key of it",
    "webhook": "give it to HedraGenerateOperator, beside input",
}
"""The fields of v2's requests, and of v3's beside ``input``, that an ``input`` does not have."""

_V3_FORM = '{"model": "hedra-avatar", "input": {"prompt": "...", ...}}'
_V2_FORM = '{"type": "video", "model_slug": "together/hedra-avatar", "generated_video_inputs": {...}, ...}'


def alternative_to(field: str) -> str | None:
    """
    Return what to do instead of giving a field that the ``input`` of a v3 job does not have.

    :param field: Its name.
    :return: None if it is no field of v2.
    """
    return _ALTERNATIVES.get(field)


def reject_v2_only(
    version: ApiVersion, *, workspace_id: str | None = None, variations: int | None = None
) -> None:
    """
    Reject what v3 lacks.

    :param version: The version of the connection's key.
    :param workspace_id: The workspace that is to pay. Default: None, the key's own.
    :param variations: The batch size. Default: None, one.
    :raises HedraValueError: If the version is 3, and one of them is given.
    """
    if version == 2:
        return
    for name, given in (("workspace_id", workspace_id), ("batch_size", (variations or 1) > 1)):
        if given:
            raise HedraValueError(
                f"{name}: API v3, which the connection's key is for, does not have it.",
                param=name,
                remedy=f"{_sentence(_ALTERNATIVES[name])} Nothing was submitted.",
            )


def version_of_asset(asset_id: str) -> ApiVersion | None:
    """
    Return the version of the API that gave an asset its id; None if it is no such id.

    :param asset_id: The id of an asset.
    """
    if is_uuid(asset_id):
        return 2
    return 3 if _V3_ASSET.fullmatch(asset_id) else None


def asset_problem(asset_id: str, version: ApiVersion) -> str | None:
    """
    Return what is wrong with the id of an asset of the other version.

    :param asset_id: The id; a path or a URI is no id.
    :param version: The version of the connection's key.
    :return: A part of a sentence; None if nothing is wrong.
    """
    other = version_of_asset(asset_id)
    if other in (None, version):
        return None
    return (
        f"{shown(asset_id)} is an asset of API v{other}, but the connection's key is for API v{version}; "
        "give the file itself, a path or a URI, which works with both kinds of key"
    )


def reject_other_asset(asset_id: str, version: ApiVersion, param: str) -> None:
    """
    Reject the id of an asset of the other version.

    :param asset_id: The id; a path or a URI is no id.
    :param version: The version of the connection's key.
    :param param: The argument, for messages.
    :raises HedraValueError: If it is such an id.
    """
    problem = asset_problem(asset_id, version)
    if problem:
        raise HedraValueError(f"{param}: {problem}.", param=param, remedy="Nothing was submitted.")


def reject_other_generation(generation_id: str, version: ApiVersion, param: str = "generation_id") -> None:
    """
    Reject the id of a generation of the other version.

    :param generation_id: The id.
    :param version: The version of the connection's key.
    :param param: The argument, for messages. Default: ``generation_id``.
    :raises HedraValueError: If it is such an id.
    """
    other = version_of_id(generation_id)
    if other not in (None, version):
        raise HedraValueError(
            f"{param}: {shown(generation_id)} is a generation of API v{other}, but the connection's key is "
            f"for API v{version}.",
            param=param,
            remedy=f"Use a connection with a key for API v{other}. Nothing was submitted.",
        )


def reject_v3_form(request: Mapping[str, Any]) -> None:
    """
    Reject a request in the form of v3, for a v2 key.

    :param request: The request of ``HedraGenerateOperator``.
    :raises HedraValueError: If it has ``input`` or ``webhook``, or ``model`` without a ``type``.
    """
    fields = [name for name in ("input", "webhook") if name in request]
    if not fields and "model" in request and "type" not in request:
        fields = ["model"]
    if not fields:
        return
    raise HedraValueError(
        f"request has {', '.join(fields)}: that is the form of API v3; the connection's key is for API v2.",
        param=fields[0],
        remedy=f"Give the form of v2, {_V2_FORM}, or a connection with a v3 key. Nothing was submitted.",
    )


def reject_v2_form(request: Mapping[str, Any]) -> None:
    """
    Reject a request in the form of v2, for a v3 key.

    :param request: The request of ``HedraGenerateOperator``.
    :raises HedraValueError: If it has no ``input``, or one of v2's fields beside it.
    """
    beside = [name for name in request if name in _ALTERNATIVES.keys() - {"webhook", "idempotency_key"}]
    if "input" in request and not beside:
        return
    reason = (
        f"has {', '.join(beside[:10])}: that is the form of API v2"
        if beside
        else "has no input, a part of the form of API v3"
    )
    raise HedraValueError(
        f"request {reason}; the connection's key is for API v3.",
        param=beside[0] if beside else "input",
        remedy=f"Give the form of v3, {_V3_FORM}, or a connection with a v2 key. Nothing was submitted.",
    )


def _sentence(text: str) -> str:
    text = f"API {text}" if text.startswith("v3") else text
    return f"{text[:1].upper()}{text[1:]}."
