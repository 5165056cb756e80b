"""The operator for the job Hedra is known for: a portrait that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import (
    Argument,
    asset_or_file,
    flag,
    milliseconds,
    number,
    read_argument,
    request_body,
    text,
    whole_number,
    word,
)
from hedra_provider.operators.draft import Draft
from hedra_provider.operators.generation import GeneratingOperator
from hedra_provider.storage.source import open_media

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hedra_provider.api.client import HedraClient
    from hedra_provider.api.responses import Model
    from hedra_provider.operators.task_run import TaskRun
    from hedra_provider.storage.source import SourceFile
    from hedra_provider.submission.pricing import Span

TO_BE_UPLOADED = "00000000-0000-0000-0000-000000000000"
"""Stands for the asset that a file will be."""

FILE_ARGUMENTS: Mapping[str, Argument] = {
    "image": Argument(
        asset_or_file, required=True, remedy="Give an asset id, a path, or a URI such as s3://bucket/key."
    ),
    "audio": Argument(asset_or_file),
}
"""The arguments that are files, or assets that were made of files before."""

REQUEST_ARGUMENTS: Mapping[str, Argument] = {
    "text": Argument(text),
    "voice_id": Argument(word),
    "language": Argument(word, default="auto"),
    "speed": Argument(number, default=1.0),
    "stability": Argument(number, default=1.0),
    "text_prompt": Argument(text, default="A person speaking to the camera"),
    "model": Argument(word, default="avatar"),
    "aspect_ratio": Argument(word, default="9:16"),
    "resolution": Argument(word, default="720p"),
    "duration_ms": Argument(milliseconds),
    "audio_start_ms": Argument(milliseconds),
    "seed": Argument(whole_number),
    "name": Argument(text),
    "extra_request": Argument(request_body),
}
"""The arguments that make the request, besides the files."""


class HedraAvatarVideoOperator(GeneratingOperator):
    """
    Make a video of a portrait that speaks: upload what is a file, submit once, wait, store the result.

    Give exactly one of ``audio`` and ``text``. Further parameters, what a retry does and what is returned:
    :class:`hedra_provider.operators.generation.GeneratingOperator`.

    Arguments may come from a template, a form or an upstream task: ``docs/how-to/arguments.md`` says how each
    value is read.

    :param image: The portrait: an asset id, the output of a task that has one (any dict with ``asset_id``), a
        local path, or a URI that ObjectStoragePath opens.
    :param audio: The voice, likewise; it sets the length of the video.
    :param text: What to say; Hedra makes the speech.
    :param voice_id: Who says it: the id of a voice of ``GET /voices``.
    :param language: Of the speech, e.g. ``English``; ``auto`` to recognise it.
    :param speed: Of the speech, 0.7 to 1.2.
    :param stability: Of the speech, 0 (most stable) to 1.
    :param text_prompt: What is seen.
    :param model: ``avatar`` (talking head, up to 10 minutes), ``omnia`` (full-body motion, up to 8 s),
        ``character-3``, or a slug or id of ``GET /models``.
    :param aspect_ratio: E.g. ``9:16``.
    :param resolution: E.g. ``720p``.
    :param duration_ms: Length in milliseconds; left out, the video follows the audio.
    :param audio_start_ms: Where the audio begins, in milliseconds; below 0 silence comes first.
    :param seed: For output that can be repeated, where the model takes one.
    :param name: The name that the result has at Hedra.
    :param extra_request: Merged over the request: fields that this operator does not know. A dict, or its
        JSON text.
    :param reuse: Whether assets that others made of the same files will do. False: this generation gets its
        own, once: a retry or a clear finds them again, and so asks for the same video.
    """

    template_fields: Sequence[str] = (
        *FILE_ARGUMENTS,
        *REQUEST_ARGUMENTS,
        *GeneratingOperator.template_fields,
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"extra_request": "json"}
    arguments: ClassVar[Mapping[str, Argument]] = {
        **FILE_ARGUMENTS,
        **REQUEST_ARGUMENTS,
        **GeneratingOperator.arguments,
    }

    def __init__(
        self,
        *,
        image: str | Mapping[str, Any],
        audio: str | Mapping[str, Any] | None = None,
        text: str | None = None,
        voice_id: str | None = None,
        language: str = "auto",
        speed: float = 1.0,
        stability: float = 1.0,
        text_prompt: str = "A person speaking to the camera",
        model: str = "avatar",
        aspect_ratio: str = "9:16",
        resolution: str = "720p",
        duration_ms: int | None = None,
        audio_start_ms: int | None = None,
        seed: int | None = None,
        name: str | None = None,
        extra_request: Mapping[str, Any] | str | None = None,
        reuse: bool | None = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Any, until read_arguments() makes it what it means.
        self.image: Any = image
        self.audio: Any = audio
        self.text = text
        self.voice_id = voice_id
        self.language = language
        self.speed = speed
        self.stability = stability
        self.text_prompt = text_prompt
        self.model = model
        self.aspect_ratio = aspect_ratio
        self.resolution = resolution
        self.duration_ms = duration_ms
        self.audio_start_ms = audio_start_ms
        self.seed = seed
        self.name = name
        self.extra_request = extra_request
        # partial() may pass an explicit None, which means "not given".
        self.reuse = read_argument(Argument(flag, default=True), reuse, "reuse")

    def draft_request(self, client: HedraClient, run: TaskRun) -> Draft:
        """
        Check everything that can be checked, then upload what is a file, and return what to submit.

        :raises HedraValueError: If something can't be right; nothing was uploaded or spent then.
        """
        from hedra_provider.api import calls
        from hedra_provider.api.requests import (
            check_against_model,
            find_model,
            not_in_catalogue,
            require_one_voice,
        )

        image, audio = self.image, self.audio
        require_one_voice(audio, self.text, self.voice_id)
        catalogue: list[Model] = []
        # Checked without the account first: what is wrong in itself needs no key and no request.
        self._body(_asset_or_stand_in(image), audio and _asset_or_stand_in(audio), catalogue)
        model = None
        if self.validate:
            # Inline speech costs extra: its models are asked for along with those of videos.
            types = ["video"] if audio else ["video", "text_to_speech"]
            catalogue = client.run(calls.list_models(types))
            model = find_model(self.model, catalogue)
            if model is None:
                raise not_in_catalogue(self.model, catalogue)
            draft = self._body(_asset_or_stand_in(image), audio and _asset_or_stand_in(audio), catalogue)
            check_against_model(draft, model)
        only_for = None if self.reuse else run.key
        with ExitStack() as files:
            # Both are read before either is sent.
            portrait = self._open(files, image, "image", model)
            voice = self._open(files, audio, "audio", model) if audio else None
            image_id = self.store_file(client, portrait, only_for=only_for).asset_id if portrait else image
            audio_id, seconds = audio, None
            if voice:
                audio_id = self.store_file(client, voice, only_for=only_for).asset_id
                seconds = _seconds_of(voice)
        return Draft(self._body(image_id, audio_id, catalogue), catalogue, seconds)

    def variations(self) -> int | None:
        """Return the ``batch_size`` of ``extra_request``."""
        from hedra_provider.api.requests import batch_size

        return batch_size(self.extra_request) if isinstance(self.extra_request, Mapping) else 1

    def sources(self) -> Sequence[str]:
        """Return the portrait and the voice, where they are files."""
        from hedra_provider.api.requests import is_uuid

        return [value for value in (self.image, self.audio) if value and not is_uuid(value)]

    def _body(self, image_id: str, audio_id: str | None, catalogue: Sequence[Model]) -> dict[str, Any]:
        return avatar_request(
            {name: getattr(self, name) for name in REQUEST_ARGUMENTS},
            image_id=image_id,
            audio_id=audio_id,
            catalogue=catalogue,
            workspace_id=self.paying_workspace,
        )

    def _open(self, files: ExitStack, value: str, kind: str, model: Model | None) -> SourceFile | None:
        """Open what is to be uploaded; None for what is an asset already."""
        from hedra_provider.api.requests import is_uuid

        if is_uuid(value):
            return None
        cropped = self.duration_ms is not None or bool(self.audio_start_ms)
        slot = model.slot(kind) if model else None
        return files.enter_context(open_media(value, param=kind, asset_type=kind, slot=slot, cropped=cropped))

    def _name(self) -> str | None:
        return self.name or None


def _seconds_of(voice: SourceFile) -> Span:
    """Return how long the voice is. What Hedra states of an upload is not asked: its unit is not sure."""
    from hedra_provider.submission.pricing import UNKNOWN_SECONDS, measured_seconds

    if voice.duration_ms is None or voice.at_most_ms is None:
        return UNKNOWN_SECONDS
    return measured_seconds(voice.duration_ms, voice.at_most_ms)


def default_arguments() -> dict[str, Any]:
    """Return what ``HedraAvatarVideoOperator`` asks for where a DAG does not say."""
    return {name: argument.default for name, argument in REQUEST_ARGUMENTS.items()}


def avatar_request(
    arguments: Mapping[str, Any],
    *,
    image_id: str,
    audio_id: str | None,
    catalogue: Sequence[Model],
    workspace_id: str | None = None,
) -> dict[str, Any]:
    """
    Return the body, without ids, that arguments of ``HedraAvatarVideoOperator`` ask for.

    :param arguments: All that :func:`default_arguments` names, as :data:`REQUEST_ARGUMENTS` reads them.
    :param image_id: The portrait's asset.
    :param audio_id: The voice's asset, None where a text is spoken.
    :param catalogue: The account's models.
    :raises HedraValueError: If it can't be right.
    """
    from hedra_provider.api.requests import avatar_video_request, batch_size, model_fields, reject_ids

    asked = dict(arguments)
    extra = asked["extra_request"] or {}
    reject_ids(extra)
    batch_size(extra)
    asked["model"] = model_fields(asked["model"], catalogue)
    return avatar_video_request(image_id=image_id, audio_id=audio_id, workspace_id=workspace_id, **asked)


def _asset_or_stand_in(value: str) -> str:
    """Return the asset id, or a stand-in for the one that the file will have."""
    from hedra_provider.api.requests import is_uuid

    return value if is_uuid(value) else TO_BE_UPLOADED
