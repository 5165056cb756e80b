"""The request of ``HedraAvatarVideoOperator``: its arguments, their defaults, and the body that they make.

The body is made once, and checked before anything is uploaded. Three of its fields are not known by then and
stay open in the :class:`AvatarDraft`: the model as the account's catalogue names it, and the assets that are
made of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from hedra_provider.api.requests import avatar_video_request, batch_size, model_fields, reject_ids
from hedra_provider.arguments import (
    Argument,
    Reader,
    asset_or_file,
    milliseconds,
    number,
    request_body,
    text,
    whole_number,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hedra_provider.api.responses import Model


@dataclass(frozen=True, kw_only=True)
class AvatarRequest:
    """
    The arguments that make the request, besides the files. Their defaults are defined here only.

    ``HedraAvatarVideoOperator`` documents each of them.
    """

    text: str | None = None
    voice_id: str | None = None
    language: str = "auto"
    speed: float = 1.0
    stability: float = 1.0
    text_prompt: str = "A person speaking to the camera"
    model: str = "avatar"
    aspect_ratio: str = "9:16"
    resolution: str = "720p"
    duration_ms: int | None = None
    audio_start_ms: int | None = None
    seed: int | None = None
    name: str | None = None
    extra_request: Mapping[str, Any] | None = None

    def draft(self, *, workspace_id: str | None = None) -> AvatarDraft:
        """
        Make the body and check it. It needs neither the account nor the files.

        :param workspace_id: The workspace that pays. Default: None, the key's own.
        :raises HedraValueError: Naming the field that is wrong.
        """
        extra = self.extra_request or {}
        reject_ids(extra)
        batch_size(extra)
        model_fields(self.model)
        values = asdict(self) | {"extra_request": extra}
        model = values.pop("model")
        return AvatarDraft(avatar_video_request(workspace_id=workspace_id, **values), model)


@dataclass(frozen=True)
class AvatarDraft:
    """
    A checked body in which the model and the media may still be open.

    :param body: The body. A field that ``extra_request`` sets is in it already, and stays as it is.
    :param model: The model as the user names it.
    """

    body: Mapping[str, Any]
    model: str

    def fill(
        self, *, catalogue: Iterable[Model] = (), image_id: str | None = None, audio_id: str | None = None
    ) -> dict[str, Any]:
        """
        Return the body with its open fields filled in, as far as they are known.

        :param catalogue: The account's models.
        :param image_id: The portrait's asset. Default: None, not known yet.
        :param audio_id: The voice's asset. Default: None, not known yet, or a text is spoken.
        """
        media = {"start_keyframe_id": image_id, "audio_id": audio_id}
        known = {name: asset_id.lower() for name, asset_id in media.items() if asset_id}
        # A model that extra_request names replaces this one, whichever of its fields either has.
        is_named = any(self.body.get(name) for name in ("model_slug", "ai_model_id"))
        model = {} if is_named else model_fields(self.model, catalogue)
        return {**model, **known, **self.body}


_READERS: Mapping[str, Reader] = {
    **dict.fromkeys(("text", "text_prompt", "name"), text),
    **dict.fromkeys(("voice_id", "language", "model", "aspect_ratio", "resolution"), word),
    **dict.fromkeys(("speed", "stability"), number),
    **dict.fromkeys(("duration_ms", "audio_start_ms"), milliseconds),
    "seed": whole_number,
    "extra_request": request_body,
}

REQUEST_ARGUMENTS: Mapping[str, Argument] = {
    field.name: Argument(_READERS[field.name], field.default) for field in fields(AvatarRequest)
}
"""How each argument of :class:`AvatarRequest` is read."""

FILE_ARGUMENTS: Mapping[str, Argument] = {
    "image": Argument(
        asset_or_file, required=True, remedy="Give an asset id, a path, or a URI such as s3://bucket/key."
    ),
    "audio": Argument(asset_or_file),
}
"""The arguments that are files, or assets that were made of files before."""
