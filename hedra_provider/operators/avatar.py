"""The operator for the job Hedra is known for: a portrait that speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hedra_provider.arguments import Argument, flag, is_asset_id, read_argument
from hedra_provider.hooks import HedraHook
from hedra_provider.operators.avatar_request import FILE_ARGUMENTS, REQUEST_ARGUMENTS
from hedra_provider.operators.generation import (
    DEFAULT_DEFERRABLE,
    POLL_INTERVAL_SECONDS,
    TIMEOUT_SECONDS,
    GeneratingOperator,
)
from hedra_provider.service.avatar import AvatarRequest
from hedra_provider.storage.source import open_media

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from datetime import timedelta
    from decimal import Decimal
    from typing import Literal

    from hedra_provider.api.client import HedraClient
    from hedra_provider.operators.task_run import TaskRun
    from hedra_provider.service.protocol import CheckedAvatar, Draft
    from hedra_provider.storage.source import SourceFile


class HedraAvatarVideoOperator(GeneratingOperator):
    """
    Make a video of a portrait that speaks: upload what is a file, submit once, wait, store the result.

    Give exactly one of ``audio`` and ``text``. What a retry does and what is returned:
    :class:`hedra_provider.operators.generation.GeneratingOperator`.

    Arguments may come from a template, a form or an upstream task: ``docs/how-to/arguments.md`` says how each
    value is read.

    :param image: The portrait: an asset id, the output of a task that has one (any dict with ``asset_id``), a
        local path, or a URI that ObjectStoragePath opens. A local path needs a worker that has the file; a
        URI works on every worker. Required.
    :param audio: The voice, in the same forms. The video is as long as its audio and is billed per second.
        Default: ``None``.
    :param text: The text to speak; Hedra makes the speech, which is billed on top. Default: ``None``.
    :param voice: The voice that speaks ``text``: its name, its id, or its labels, e.g.
        ``{"language": "German", "gender": "female"}``, which only one voice may have. Default: ``None``.
    :param voice_id: The voice by its id alone; give it or ``voice``. Default: ``None``.
    :param language: Language of the speech, e.g. ``English``; ``auto`` recognises it.
        Default: ``'auto'``.
    :param speed: Speed of the speech as a factor, 0.7 to 1.2. Faster speech makes a shorter, cheaper video.
        Default: ``1.0``.
    :param stability: Stability of the speech, 0 (most stable) to 1. Default: ``1.0``.
    :param text_prompt: Description of the picture. Default: ``'A person speaking to the camera'``.
    :param model: ``avatar`` (talking head, up to 10 minutes), ``omnia`` (full-body motion, up to 8 s),
        ``character-3``, or a slug or id of ``GET /models``. Models differ in price per second.
        Default: ``'avatar'``.
    :param aspect_ratio: Width to height, e.g. ``16:9``. Default: ``'9:16'``.
    :param resolution: E.g. ``540p``; a higher one may cost more. Default: ``'720p'``.
    :param duration_ms: Length of the video in milliseconds; it cuts a longer audio. None: the length of the
        audio. Default: ``None``.
    :param audio_start_ms: Start within the audio, in milliseconds; below 0 the video begins with silence.
        Default: ``None``.
    :param seed: A number that makes the output repeatable, where the model takes one. Default: ``None``.
    :param name: The result's name at Hedra. Default: ``None``.
    :param extra_request: Fields that this operator does not know, merged over the request: a dict, or its
        JSON text. They overrule the other arguments and are checked less. Default: ``None``.
    :param reuse: Whether an asset that another task made of the same file is reused. False: this generation
        uploads its own once, and its retries and clears use that again. Default: ``True``.
    :param destination: The place to store the result: a local path or a URI that ObjectStoragePath opens. A
        path that ends in ``/`` is a folder, as a batch needs. None: the file stays at Hedra, whose URLs
        expire. Default: ``None``.
    :param generation_id: A generation to adopt in place of a submit: its id, or any dict with
        ``generation_id``. For mapped tasks a dict of these by map index, e.g. ``{3: "..."}``; a task whose
        index is not in it submits. Nothing is submitted and no source is read for a generation that is
        adopted. Default: ``None``.
    :param idempotency_key: The purpose of the generation, e.g. ``"shop/{{ task.name }}"``. Runs and tasks
        with the same key share one generation and pay once, unless their requests differ. White space around
        it does not count. None, or a template that renders nothing: each task run has its own key.
        Default: ``None``.
    :param on_clear: The effect of a clear of the task. ``adopt`` reuses the paid generation unless the
        request changed; ``new`` pays for another one, and can't go with an ``idempotency_key``.
        Default: ``'adopt'``.
    :param max_credits: Limit of one submit, in credits. An estimate from Hedra's published prices is compared
        by its upper bound, so a request close to the limit may be rejected. None: no limit.
        Default: ``None``.
    :param max_cost: The same limit for a v3 key, in US dollars. A DAG for both kinds of key gives both: the
        one that fits the key counts. Only the other one is an error. None: no limit. Default: ``None``.
    :param wait_for_completion: Whether to wait for the generation. False: the task ends after the submit, and
        a later task must wait for the file and fetch it. Default: ``True``.
    :param deferrable: Whether to wait in the triggerer, which frees the worker slot and needs a running
        triggerer. Default: Airflow's ``[operators] default_deferrable``.
    :param poll_interval: Longest pause between two polls, in seconds, or a timedelta. A short one notices the
        end sooner and sends more requests. Default: ``15.0``.
    :param timeout: Timeout of the wait for the generation, and before it of the wait for a retry slot after
        a 429; in seconds, or a timedelta. An earlier ``execution_timeout`` counts instead.
        Default: ``21600.0``.
    :param validate: Whether to check the request against the account's models and their limits before the
        submit; it costs one request. Default: ``True``.
    :param workspace_id: The workspace that owns and pays. None: the connection's. Default: ``None``.
    :param hedra_conn_id: The Airflow connection. Default: ``'hedra_default'``.
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

    paid_step = "avatar"

    def __init__(
        self,
        *,
        image: str | Mapping[str, Any],
        audio: str | Mapping[str, Any] | None = None,
        text: str | None = AvatarRequest.text,
        voice: str | Mapping[str, Any] | None = AvatarRequest.voice,
        voice_id: str | None = AvatarRequest.voice_id,
        language: str = AvatarRequest.language,
        speed: float = AvatarRequest.speed,
        stability: float = AvatarRequest.stability,
        text_prompt: str = AvatarRequest.text_prompt,
        model: str = AvatarRequest.model,
        aspect_ratio: str = AvatarRequest.aspect_ratio,
        resolution: str = AvatarRequest.resolution,
        duration_ms: int | None = AvatarRequest.duration_ms,
        audio_start_ms: int | None = AvatarRequest.audio_start_ms,
        seed: int | None = AvatarRequest.seed,
        name: str | None = AvatarRequest.name,
        extra_request: Mapping[str, Any] | str | None = AvatarRequest.extra_request,
        reuse: bool | None = True,
        destination: str | None = None,
        generation_id: str | Mapping[Any, Any] | None = None,
        idempotency_key: str | None = None,
        on_clear: Literal["adopt", "new"] | None = "adopt",
        max_credits: int | None = None,
        max_cost: Decimal | float | str | None = None,
        wait_for_completion: bool = True,
        deferrable: bool = DEFAULT_DEFERRABLE,
        poll_interval: timedelta | float = POLL_INTERVAL_SECONDS,
        timeout: timedelta | float = TIMEOUT_SECONDS,
        validate: bool = True,
        workspace_id: str | None = None,
        hedra_conn_id: str = HedraHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            destination=destination,
            generation_id=generation_id,
            idempotency_key=idempotency_key,
            on_clear=on_clear,
            max_credits=max_credits,
            max_cost=max_cost,
            wait_for_completion=wait_for_completion,
            deferrable=deferrable,
            poll_interval=poll_interval,
            timeout=timeout,
            validate=validate,
            workspace_id=workspace_id,
            hedra_conn_id=hedra_conn_id,
            **kwargs,
        )
        # Any, until read_arguments() makes it what it means.
        self.image: Any = image
        self.audio: Any = audio
        self.text = text
        self.voice: Any = voice
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

    def draft_request(self, client: HedraClient, run: TaskRun, files: ExitStack) -> Draft:
        """
        Check everything that can be checked before a file is sent, and return what to submit.

        :raises HedraValueError: If something is wrong; nothing was uploaded or spent then.
        """
        hedra = self.hook.service
        checked = client.run(
            hedra.check_avatar(
                AvatarRequest(**{name: getattr(self, name) for name in REQUEST_ARGUMENTS}),
                audio=self.audio,
                workspace_id=self.paying_workspace,
                validate=self.validate,
            )
        )
        # Both are read before either is sent.
        image = self._open(files, self.image, "image", checked)
        audio = self._open(files, self.audio, "audio", checked) if self.audio else None
        only_for = None if self.reuse else run.key
        draft = hedra.draft_avatar(
            checked, image=image, audio=audio, only_for=only_for, upload=self.reported_upload
        )
        return client.run(draft)

    def variations(self) -> int | None:
        """Return the ``batch_size`` of ``extra_request``."""
        extra = self.extra_request if isinstance(self.extra_request, Mapping) else None
        return self.hook.service.variations(extra)

    def sources(self) -> Sequence[str]:
        """Return the portrait and the voice, where they are files."""
        return [value for value in (self.image, self.audio) if value and not is_asset_id(value)]

    def _open(self, files: ExitStack, value: str, kind: str, checked: CheckedAvatar) -> SourceFile | str:
        """Open what is a file; an asset stays its id."""
        if is_asset_id(value):
            return value
        cropped = self.duration_ms is not None or bool(self.audio_start_ms)
        slot = checked.limits(kind)
        return files.enter_context(open_media(value, param=kind, asset_type=kind, slot=slot, cropped=cropped))

    def _name(self) -> str | None:
        return self.name or None
