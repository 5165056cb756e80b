"""The bodies of API v2: what is drafted, and what is submitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hedra_provider.api.errors import HedraValueError
from hedra_provider.api.redaction import shown
from hedra_provider.api.requests import (
    avatar_video_request,
    batch_size,
    model_fields,
    reject_ids,
    require_one_voice,
)
from hedra_provider.api.values import is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hedra_provider.api.responses import Model, Slot
    from hedra_provider.service.avatar import AvatarRequest, PricedRequest
    from hedra_provider.submission.pricing import Span


@dataclass(frozen=True)
class BodyDraft:
    """
    A body that is ready to be submitted, and what was learnt while it was made.

    :param body: The body, without ids; of a batch it has the ``batch_size``.
    :param catalogue: The account's models, where they were asked for.
    :param audio_seconds: How long its audio is: as measured, else as Hedra said. None: Hedra is asked.
    :param cost: What it costs by an estimate that was made, and compared with ``max_credits``, before.
    """

    body: Mapping[str, Any]
    catalogue: Sequence[Model] = ()
    audio_seconds: Span | None = None
    cost: str | None = None

    @property
    def variations(self) -> int:
        """How many generations it makes."""
        return batch_size(self.body)

    @property
    def workspace_id(self) -> str | None:
        """The workspace that pays; None for the key's own."""
        found: str | None = self.body.get("workspace_id")
        return found

    def kept(self) -> str | None:
        """Return the body as JSON text."""
        return json.dumps(dict(self.body))


@dataclass(frozen=True)
class AvatarBody:
    """
    A checked body in which the model and the media may still be open.

    The body is made once, and checked before anything is uploaded. Three of its fields are not known by then:
    the model as the account's catalogue names it, and the assets that are made of files.

    :param body: The body. A field that ``extra_request`` sets is in it already, and stays as it is.
    :param model: The model as the user names it.
    """

    body: Mapping[str, Any]
    model: str

    @classmethod
    def of(cls, request: AvatarRequest, *, workspace_id: str | None = None) -> AvatarBody:
        """
        Make the body and check it. It needs neither the account nor the files.

        :param request: The arguments.
        :param workspace_id: The workspace that pays. Default: None, the key's own.
        :raises HedraValueError: Naming the field that is wrong.
        """
        extra = request.extra_request or {}
        reject_ids(extra)
        batch_size(extra)
        model_fields(request.model)
        values = asdict(request) | {"extra_request": extra}
        model = values.pop("model")
        # Its id is in voice_id by the time that a body is sent.
        del values["voice"]
        return cls(avatar_video_request(workspace_id=workspace_id, **values), model)

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


@dataclass(frozen=True)
class CheckedBody:
    """
    An avatar's body whose arguments are checked.

    :param avatar: The body.
    :param workspace_id: The workspace that owns the uploads.
    :param catalogue: The account's models, if the arguments were compared with them.
    :param model: The model, if they were.
    """

    avatar: AvatarBody
    workspace_id: str | None
    catalogue: Sequence[Model] = ()
    model: Model | None = None

    def limits(self, kind: str) -> Slot | None:
        """Return what the model takes as its ``image`` or its ``audio``; None if that is not known."""
        return self.model.slot(kind) if self.model else None


def priced_body(request: PricedRequest, models: Sequence[Model]) -> Mapping[str, Any]:
    """
    Return the body of a request, as far as it makes the price.

    :param request: The request.
    :param models: The account's models.
    :raises HedraValueError: If the request is wrong.
    """
    body = _avatar_body(request.avatar, request.audio, models) if request.avatar else dict(request.body or {})
    # A template may have made it a text.
    return {**body, "batch_size": batch_size(body)}


def _avatar_body(request: AvatarRequest, audio: str | None, models: Sequence[Model]) -> dict[str, Any]:
    if audio:
        require_one_voice(audio, request.text, None)
    audio_id = audio if audio and is_uuid(audio) else None
    body = AvatarBody.of(request).fill(catalogue=models, audio_id=audio_id)
    if request.text or "audio_id" in body or "duration_ms" in body["generated_video_inputs"]:
        return body
    # The length of the audio is not known from here, and no length is given.
    raise HedraValueError(
        f"how long {shown(audio)} is can't be measured from here."
        if audio
        else "it has neither audio, text nor duration_ms.",
        param="requests",
        remedy="Give duration_ms, or upload it first and give its asset id." if audio else None,
    )
