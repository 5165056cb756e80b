"""Hedra by API v3."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hedra_provider import records
from hedra_provider.api.error_bodies import generation_error
from hedra_provider.api.errors import (
    HedraBadRequestError,
    HedraNotFoundError,
    HedraTransferError,
    HedraValueError,
)
from hedra_provider.api.lookups import retry_unknown, unknown_generation
from hedra_provider.api.redaction import clean, shown
from hedra_provider.api.requests import require_one_voice
from hedra_provider.api.v3 import calls
from hedra_provider.polling.blocking import poll_job
from hedra_provider.service.differences import (
    reject_other_asset,
    reject_other_generation,
    reject_v2_only,
)
from hedra_provider.service.expiry import expired_error, is_expired
from hedra_provider.service.input_schema import input_problems, reject_problems, spoken_problems
from hedra_provider.service.job_request import (
    AVATAR_MEDIA,
    AVATAR_NAMES,
    JobRequest,
    avatar_input,
    media_references,
    model_name,
    speech_input,
)
from hedra_provider.service.v3_paid_once import PaidOnceV3
from hedra_provider.service.v3_request import (
    AVATAR,
    JOB,
    SPEECH,
    CheckedRequest,
    StepRequest,
    StepsDraft,
    seconds_of,
)
from hedra_provider.service.voices import find_voice
from hedra_provider.submission import budget, pricing, rates
from hedra_provider.transfer.download import RemoteFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.api.v3.responses import ModelDetail, ModelSummary
    from hedra_provider.records import ApiVersion, Balance, Generation
    from hedra_provider.service.avatar import AvatarRequest, PricedRequest
    from hedra_provider.service.protocol import Account, Draft, Limits, Source, Upload
    from hedra_provider.service.submit_records import SubmitRecords
    from hedra_provider.submission.identity import RunIdentity
    from hedra_provider.submission.pricing import Estimate
    from hedra_provider.transfer.upload import StoredAsset

_SPEECH_NAMES = {"voice_id": "voice"}


class HedraV3:
    """
    Hedra by API v3. :class:`hedra_provider.service.protocol.Hedra` documents the methods.

    :param account: The settings of the connection.
    """

    api_version: ApiVersion = 3
    currency = records.USD
    keeps_uploads = False
    needs_records = True

    def __init__(self, account: Account) -> None:
        self.account = account
        self.speech_model = account.speech_model

    def upload(
        self, source: Source, *, workspace_id: str | None, only_for: str | None = None
    ) -> Call[StoredAsset]:
        """Reject it: v3 keeps an upload for an hour, and gives it no id."""
        raise HedraValueError(
            "source: API v3, which the connection's key is for, keeps an uploaded file for one hour only, "
            "and makes no asset of it.",
            param="source",
            remedy="Give the path or the URI of the file to HedraAvatarVideoOperator, which uploads it. "
            "Nothing was sent.",
        )

    def check_avatar(
        self, request: AvatarRequest, *, audio: str | None, workspace_id: str | None, validate: bool
    ) -> Call[CheckedRequest]:
        """Make the input of the avatar, and that of its speech, and compare them with their schemas."""
        require_one_voice(audio, request.text, request.voice_given)
        extra = request.extra_request or {}
        reject_v2_only(3, workspace_id=workspace_id)
        if audio:
            reject_other_asset(audio, 3, "audio")
        model = model_name(request.model)
        values = avatar_input(
            text_prompt=request.text_prompt,
            aspect_ratio=request.aspect_ratio,
            resolution=request.resolution,
            duration_ms=request.duration_ms,
            audio_start_ms=request.audio_start_ms,
            seed=request.seed,
            extra_request=extra,
        )
        schema = None
        if validate:
            schema = (yield from self._model(model, "model")).input_schema
        problems = [input_problems(values, schema, model=model, later=AVATAR_MEDIA, names=AVATAR_NAMES)]
        speech = None
        if request.text:
            spoken = _spoken(request)
            speech_model = self.speech_model
            if validate:
                detail = yield from self._model(speech_model, "speech_model")
                found = input_problems(
                    spoken,
                    detail.input_schema,
                    model=speech_model,
                    later=("voice_id",),
                    names=_SPEECH_NAMES,
                )
                problems += [found, spoken_problems(request.text, request.speed, schema, model=model)]
            reject_problems(*problems)
            spoken["voice_id"] = yield from self._voice(request, validate=validate)
            speech = StepRequest(step=SPEECH, model=speech_model, values=spoken)
        reject_problems(*problems)
        last = StepRequest(step=AVATAR, model=model, values=values, speech=speech)
        return CheckedRequest(request=request, last=last, schema=schema)

    def draft_avatar(
        self,
        checked: CheckedRequest,
        *,
        image: Source | str,
        audio: Source | str | None,
        only_for: str | None,
        upload: Upload,
    ) -> Call[StepsDraft]:
        """Keep the open files: they are uploaded when the draft is submitted."""
        yield from ()
        media = {"start_image": image} | ({} if audio is None else {"audio": audio})
        for name, medium in media.items():
            if isinstance(medium, str):
                reject_other_asset(medium, 3, "image" if name == "start_image" else name)
        # What extra_request names replaces the file, which is not uploaded then.
        media = {name: medium for name, medium in media.items() if name not in checked.last.values}
        return StepsDraft(
            last=replace(checked.last, media=media),
            upload=upload,
            audio_seconds=seconds_of(media.get("audio")),
            longest_seconds=checked.longest_seconds,
        )

    def draft_body(
        self, body: Mapping[str, Any], *, workspace_id: str | None, validate: bool
    ) -> Call[StepsDraft]:
        """Check the form of the request, and its input by the schema of its model."""
        reject_v2_only(3, workspace_id=workspace_id)
        draft = self.plain_draft(body)
        request = draft.last
        schema = None
        if validate:
            schema = (yield from self._model(request.model, "request.model")).input_schema
        values = media_references(request.values, schema)
        reject_problems(input_problems(values, schema, model=request.model))
        return replace(draft, last=replace(request, values=values))

    def plain_draft(self, body: Mapping[str, Any]) -> StepsDraft:
        """Return the request as a draft; only its form is checked."""
        request = JobRequest.read(body)
        step = StepRequest(step=JOB, model=request.model, values=request.input, webhook=request.webhook)
        return StepsDraft(last=step, upload=_no_upload)

    def restored(self, kept: str, cost: str | None) -> Draft:
        """Reject it: no draft of v3 was kept as a text."""
        raise HedraValueError(
            "This task waited for a retry slot with a v2 key, and the connection has a v3 key now.",
            param="hedra_conn_id",
            remedy="Put the v2 key back and clear the task. Nothing was submitted.",
        )

    def variations(self, body: Mapping[str, Any] | None) -> int:
        """Return 1: v3 has no batches."""
        size = (body or {}).get("batch_size")
        if size is not None and str(size).strip() not in ("", "None", "null", "1"):
            reject_v2_only(3, variations=2)
        return 1

    def paid_once(self, run: RunIdentity, *, records: SubmitRecords | None = None) -> PaidOnceV3:
        """Return what pays once by the records of the task run's submits."""
        return PaidOnceV3(run, self.account, records)

    def estimate(self, draft: StepsDraft, generations: int, *, required: bool) -> Call[Estimate | None]:
        """Estimate by the rates of avatars; Hedra estimates every other model, and so the speech."""
        last = draft.last
        if not generations:
            return self.total([])
        duration = pricing.read_number(last.values.get("duration_ms"))
        resolution = str(last.values.get("resolution"))
        duration_ms = int(duration) if duration else None
        prices, longest = self.account.prices, draft.longest_seconds
        if last.speech:
            spoken = yield from self._with_any_voice(last.speech.values)
            speech = yield from _quote(last.speech.model, spoken)
            return rates.estimate_spoken_avatar(
                speech,
                last.model,
                resolution,
                str(last.speech.values["text"]),
                last.speech.values.get("speed"),
                prices,
                duration_ms=duration_ms,
                longest_seconds=longest,
            )
        found = rates.estimate_avatar(
            last.model,
            resolution,
            draft.audio_seconds,
            prices,
            duration_ms=duration_ms,
            longest_seconds=longest,
        )
        if found is None and last.step == JOB:
            return (yield from _quote(last.model, last.values))
        return found

    def estimate_all(self, requests: Sequence[PricedRequest], *, param: str) -> Call[list[Estimate | None]]:
        """Estimate one by one; the same speech model is asked once for each text."""
        found = list[Any]()
        for n, request in enumerate(requests):
            try:
                draft = self._priced_draft(request)
            except HedraValueError as error:
                error.message = f"{param}[{n}]: {error.message}"
                raise
            found.append((yield from self.estimate(draft, 1, required=True)))
        return found

    def require_within(self, found: Estimate | None, limits: Limits, what: str) -> None:
        """Compare the upper bound with ``max_cost``."""
        budget.require_within(found, limits, what, currency=self.currency)

    def require_available(self, found: Estimate, balance: Balance) -> None:
        """Compare the upper bound with the wallet."""
        budget.require_covered(found, balance)

    def total(self, estimates: Iterable[Estimate]) -> Estimate:
        """Add up US dollars."""
        return pricing.total(estimates, self.currency)

    def balance(self, workspace_id: str | None, *, must_exist: bool = False) -> Call[Balance]:
        """Return the wallet of the key."""
        reject_v2_only(3, workspace_id=workspace_id)
        return (yield from calls.get_balance()).record()

    def require_own(self, generation_id: str, param: str = "generation_id") -> None:
        """Reject the id of a v2 generation."""
        reject_other_generation(generation_id, 3, param)

    def poll(self, generation_id: str) -> Call[Generation | None]:
        """Ask for the status, and once it has ended for the result."""
        return poll_job(generation_id)

    def known(self, generation_id: str, *, repeat: bool = False) -> Call[Generation]:
        """Ask as :meth:`poll`; a 404 is an error."""
        if repeat:
            return retry_unknown(lambda: _known(generation_id))
        return _known(generation_id)

    def results(self, generation_ids: Sequence[str]) -> Call[dict[str, Generation]]:
        """Ask for each job: it has cost, outputs and a fresh URL."""
        found = {}
        for job_id in generation_ids:
            job = yield from calls.get_job(job_id)
            if job is not None:
                found[job_id] = job.record()
        return found

    def file_of(self, generation_id: str) -> Call[RemoteFile]:
        """Ask for the job, whose answer has a fresh URL until 24 hours after the submit."""
        reject_other_generation(generation_id, 3)
        return retry_unknown(lambda: _file_of(generation_id))

    def file_of_asset(self, asset_id: str, asset_type: str) -> Call[RemoteFile]:
        """Reject it: v3 finds a file by its job only."""
        raise HedraValueError(
            f"asset_id: API v3, which the connection's key is for, can't find the file of asset "
            f"{shown(asset_id)}.",
            param="asset_id",
            remedy='Give generation_id, the job that made it: output["generation_id"] of the task that '
            "generated. Nothing was sent.",
        )

    def voices(self) -> Call[list[records.Voice]]:
        """Return the voices of the connection's speech model."""
        return [one.record() for one in (yield from calls.list_voices(self.speech_model))]

    def models(self, types: Iterable[str] = ()) -> Call[list[ModelSummary]]:
        """Return the models; ``types`` are ``image``, ``video`` or ``audio``."""
        wanted = set(types)
        found = yield from calls.list_models()
        return [one for one in found if not wanted or one.modality in wanted]

    def _model(self, model: str, param: str) -> Call[ModelDetail]:
        try:
            return (yield from calls.get_model(model))
        except HedraNotFoundError as error:
            if error.status_code != 404:
                raise
        known = yield from calls.list_models()
        names = ", ".join(clean(one.id) for one in known[:40])
        raise HedraValueError(
            f"{param}: Hedra has no model {shown(model)} for this key. It has {names}.",
            param=param,
            remedy="Nothing was submitted.",
        )

    def _voice(self, request: AvatarRequest, *, validate: bool) -> Call[str]:
        """Return the id of the voice. An id is sent as it is where nothing is to be checked."""
        if request.voice_id and not validate:
            return request.voice_id
        param = "voice_id" if request.voice_id else "voice"
        wanted = request.voice_id or request.voice or ""
        return find_voice(wanted, (yield from self.voices()), param=param).id

    def _with_any_voice(self, values: Mapping[str, Any]) -> Call[Mapping[str, Any]]:
        """Return the input of a speech with a voice: Hedra estimates none without, and all cost the same."""
        if "voice_id" in values:
            return values
        voice = next(iter((yield from self.voices())), None)
        return {**values, "voice_id": voice.id} if voice else values

    def _priced_draft(self, request: PricedRequest) -> StepsDraft:
        """Return a draft that has all that makes the price."""
        if request.avatar is None:
            return self.plain_draft(request.body or {})
        avatar = request.avatar
        if request.audio and not avatar.duration_ms:
            raise HedraValueError(
                f"how long {shown(request.audio)} is can't be measured from here.",
                param="requests",
                remedy="Give duration_ms, or the whole output of HedraUploadAssetOperator, which "
                "measures it.",
            )
        values = avatar_input(
            text_prompt=avatar.text_prompt,
            aspect_ratio=avatar.aspect_ratio,
            resolution=avatar.resolution,
            duration_ms=avatar.duration_ms,
            extra_request=avatar.extra_request,
        )
        speech = None
        if avatar.text:
            speech = StepRequest(step=SPEECH, model=self.speech_model, values=_spoken(avatar))
        last = StepRequest(step=AVATAR, model=model_name(avatar.model), values=values, speech=speech)
        return StepsDraft(last=last, upload=_no_upload)


def _spoken(request: AvatarRequest) -> dict[str, Any]:
    return speech_input(
        text=str(request.text),
        voice_id=request.voice_id,
        language=request.language,
        speed=request.speed,
        stability=request.stability,
    )


def _no_upload(source: Any, upload: Call[StoredAsset]) -> Call[StoredAsset]:
    """Run an upload that nothing reports: a request without files has none."""
    return upload


def _quote(model: str, values: Mapping[str, Any]) -> Call[Estimate | None]:
    """Return Hedra's own estimate; None for a model that it does not estimate."""
    try:
        answer = yield from calls.estimate(model, values)
    except HedraBadRequestError:
        return None
    return rates.quoted(answer.cost, answer.currency)


def _known(job_id: str) -> Call[Generation]:
    found = yield from poll_job(job_id)
    if found is None:
        raise unknown_generation(job_id)
    return found


def _file_of(job_id: str) -> Call[RemoteFile]:
    job = yield from calls.get_job(job_id)
    if job is None:
        raise unknown_generation(job_id)
    generation = job.record()
    if generation.is_failed:
        raise generation_error(job_id, generation.error, generation.error_message)
    now = time.time() if job.answered_at is None else job.answered_at
    if generation.is_complete and is_expired(generation, now):
        raise expired_error(generation, now)
    if not generation.is_complete or not generation.file_url:
        raise HedraTransferError(
            f"Generation {job_id} is {clean(str(generation.status))}, not complete."
            if not generation.is_complete
            else f"Generation {job_id} is complete but names no file.",
            generation_id=job_id,
            remedy="Wait for it with HedraGenerationSensor first.",
        )
    return RemoteFile(generation.file_url, generation.asset_id, generation.type)
