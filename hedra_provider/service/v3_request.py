"""The requests of API v3: what is checked, what is drafted, and the steps that are paid for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from hedra_provider.api.responses import GRACE_SECONDS
from hedra_provider.api.v3 import calls
from hedra_provider.service.input_schema import longest_audio_ms
from hedra_provider.service.job_request import fill_media, request_fingerprint
from hedra_provider.submission.pricing import LONGEST_SECONDS, Span, measured_seconds, read_number
from hedra_provider.submission.v3.run import JobDraft, PreparedBody
from hedra_provider.transfer.upload import StoredAsset

if TYPE_CHECKING:
    from hedra_provider.api.calls import Call
    from hedra_provider.api.v3.responses import FileHandle
    from hedra_provider.service.avatar import AvatarRequest
    from hedra_provider.service.protocol import Source, Upload

SPEECH, AVATAR, JOB = "speech", "avatar", "job"


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """
    The request of one paid step.

    :param step: ``speech``, ``avatar`` or ``job``.
    :param model: The model, as v3 names it.
    :param values: The input, without the media.
    :param media: The media by field: an open file, or the id of an asset of v3.
    :param webhook: The URL that Hedra notifies at the end. Default: None.
    :param speech: The step whose output is the ``audio`` of this one. Default: None.
    """

    step: str
    model: str
    values: Mapping[str, Any] = field(repr=False)
    media: Mapping[str, Source | str] = field(default_factory=dict, repr=False)
    webhook: str | None = field(default=None, repr=False)
    speech: StepRequest | None = None

    @property
    def fingerprint(self) -> str:
        """
        The same for the same model, fields, and bytes of files.

        A speech counts by its request: a speech that was made again does not make another request.
        """
        media = {name: one if isinstance(one, str) else one.sha256 for name, one in self.media.items()}
        if self.speech:
            media["audio"] = self.speech.fingerprint
        return request_fingerprint(self.model, self.values, media)

    def with_speech(self, asset_id: str) -> StepRequest:
        """Return this step with the output of its speech as its audio. Its fingerprint does not change."""
        return replace(self, values={**fill_media({}, {"audio": asset_id}), **self.values})

    def draft(self, upload: Upload) -> JobDraft:
        """
        Return the step as the submit flow takes it. Its files are uploaded only for a new submit.

        :param upload: Runs each upload.
        """

        def make_body() -> Call[PreparedBody]:
            handles: dict[str, str] = {}
            lapses = list[float]()
            for name, medium in self.media.items():
                if isinstance(medium, str):
                    handles[name] = medium
                    continue
                handle = yield from _uploaded(medium, upload)
                handles[name] = handle.url
                if handle.expires_at_epoch is not None:
                    lapses.append(handle.expires_at_epoch)
            body: dict[str, Any] = {"input": fill_media(self.values, handles)}
            if self.webhook:
                body["webhook"] = self.webhook
            content = json.dumps(body, separators=(",", ":")).encode()
            return PreparedBody(content=content, handles_expire_at=min(lapses, default=None))

        return JobDraft(model=self.model, fingerprint=self.fingerprint, make_body=make_body)


def _uploaded(source: Source, upload: Upload) -> Call[FileHandle]:
    """Upload a file, and return its handle, which is a secret: what is logged does not have it."""
    handles = list[Any]()

    def send() -> Call[StoredAsset]:
        handles.append((yield from calls.upload_file(source.file)))
        return StoredAsset("", reused=False)

    yield from upload(source, send())
    handle: FileHandle = handles[0]
    return handle


@dataclass(frozen=True, kw_only=True)
class StepsDraft:
    """
    A request that is checked and ready to be submitted: one step, or a speech and its avatar.

    :param last: The step that makes the result; it has its speech.
    :param upload: Runs each upload.
    :param audio_seconds: How long the audio is, where it was measured. Default: None.
    :param longest_seconds: The longest audio that the model takes. Default: 600.
    :param cost: What it costs, by an estimate that was compared with its limit before. Default: None.
    """

    last: StepRequest
    upload: Upload = field(repr=False)
    audio_seconds: Span | None = None
    longest_seconds: Fraction = LONGEST_SECONDS
    cost: str | None = None

    @property
    def variations(self) -> int:
        """Always 1: v3 has no batches."""
        return 1

    @property
    def workspace_id(self) -> str | None:
        """Always None: a v3 key belongs to one workspace."""
        return None

    def kept(self) -> str | None:
        """Return None: the record of a submit has its bytes, so a retry slot needs no text."""
        return None


@dataclass(frozen=True, kw_only=True)
class FileLimits:
    """What a model takes as a file, by the schema of its input; None: it does not say."""

    max_file_size_bytes: int | None = None
    min_dimension_px: int | None = None
    max_dimension_px: int | None = None
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None

    @property
    def longest_ms(self) -> int | None:
        """The longest file that is accepted, in milliseconds."""
        return self.max_duration_ms + GRACE_SECONDS * 1000 if self.max_duration_ms else None


@dataclass(frozen=True, kw_only=True)
class CheckedRequest:
    """
    The arguments of an avatar video, checked. Its files are not open yet.

    :param request: The arguments.
    :param last: The step of the avatar, with its speech, without its files.
    :param schema: The ``input_schema`` of the avatar's model. Default: None, not asked for.
    """

    request: AvatarRequest
    last: StepRequest
    schema: Mapping[str, Any] | None = None

    def limits(self, kind: str) -> FileLimits | None:
        """Return what the model takes as its ``image`` or its ``audio``; None if that is not known."""
        properties = (self.schema or {}).get("properties")
        named = (
            properties.get({"image": "start_image"}.get(kind, kind))
            if isinstance(properties, Mapping)
            else None
        )
        if not isinstance(named, Mapping):
            return None
        found = {name: read_number(named.get(name)) for name in FileLimits.__dataclass_fields__}
        return FileLimits(**{name: int(value) for name, value in found.items() if value and value > 0})

    @property
    def longest_seconds(self) -> Fraction:
        """The longest audio that the model takes."""
        longest = longest_audio_ms(self.schema)
        return LONGEST_SECONDS if longest is None else Fraction(longest, 1000)


def seconds_of(source: Source | str | None) -> Span | None:
    """
    Return how long an audio is, as it was measured.

    :param source: The open file; an asset is not measured.
    :return: None if that is not known.
    """
    if source is None or isinstance(source, str):
        return None
    if source.duration_ms is None or source.at_most_ms is None:
        return None
    return measured_seconds(source.duration_ms, source.at_most_ms)
