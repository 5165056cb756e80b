"""How ``HedraAvatarVideoOperator`` reads its arguments: those that make the request, and the files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from hedra_provider.arguments import (
    WHOLE_OUTPUT,
    Argument,
    Reader,
    asset_or_file,
    milliseconds,
    number,
    request_body,
    text,
    voice,
    whole_number,
    word,
)
from hedra_provider.service.avatar import AvatarRequest

_READERS: Mapping[str, Reader] = {
    **dict.fromkeys(("text", "text_prompt", "name"), text),
    **dict.fromkeys(("voice_id", "language", "model", "aspect_ratio", "resolution"), word),
    **dict.fromkeys(("speed", "stability"), number),
    **dict.fromkeys(("duration_ms", "audio_start_ms"), milliseconds),
    "voice": voice,
    "seed": whole_number,
    "extra_request": request_body,
}

REQUEST_ARGUMENTS: Mapping[str, Argument] = {
    field.name: Argument(_READERS[field.name], field.default) for field in fields(AvatarRequest)
}
"""How each argument of :class:`hedra_provider.service.avatar.AvatarRequest` is read."""

FILE_ARGUMENTS: Mapping[str, Argument] = {
    "image": Argument(
        asset_or_file,
        required=True,
        remedy=f"Give an asset id, a path, or a URI such as s3://bucket/key. {WHOLE_OUTPUT}",
    ),
    "audio": Argument(asset_or_file),
}
"""The arguments that are files, or assets that were made of files before."""
