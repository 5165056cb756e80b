"""The service of API v2."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hedra_provider import records
from hedra_provider.api import calls
from hedra_provider.api.errors import HedraConfigurationError, HedraValueError
from hedra_provider.api.lookups import get_known_status, retry_unknown
from hedra_provider.api.redaction import clean
from hedra_provider.api.requests import (
    batch_size,
    check_against_model,
    find_model,
    not_in_catalogue,
    reject_ids,
    require_one_voice,
    require_voice,
)
from hedra_provider.api.values import require_json
from hedra_provider.service.differences import reject_other_asset, reject_other_generation
from hedra_provider.service.v2_paid_once import PaidOnceV2
from hedra_provider.service.v2_request import AvatarBody, BodyDraft, CheckedBody, priced_body
from hedra_provider.service.voices import find_voice
from hedra_provider.submission import budget, identity, pricing
from hedra_provider.transfer.download import asset_file, generation_file
from hedra_provider.transfer.upload import store_asset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.api.responses import Model
    from hedra_provider.records import ApiVersion, Balance, Generation
    from hedra_provider.service.avatar import AvatarRequest, PricedRequest
    from hedra_provider.service.protocol import Account, Source, Upload
    from hedra_provider.service.submit_records import SubmitRecords
    from hedra_provider.submission.budget import Limits
    from hedra_provider.submission.identity import RunIdentity
    from hedra_provider.submission.pricing import Estimate, Span
    from hedra_provider.transfer.download import RemoteFile
    from hedra_provider.transfer.upload import StoredAsset


class HedraV2:
    """
    Hedra by API v2. :class:`hedra_provider.service.protocol.Hedra` documents the methods.

    :param account: The settings of the connection.
    """

    api_version: ApiVersion = 2
    currency = records.CREDITS
    keeps_uploads = True
    needs_records = False
    speech_model = None

    def __init__(self, account: Account) -> None:
        self.account = account

    def upload(
        self, source: Source, *, workspace_id: str | None, only_for: str | None = None
    ) -> Call[StoredAsset]:
        """Upload under an id that is made from the content."""
        require_json(workspace_id, "workspace_id")
        reserved = identity.asset_id(
            self.account.namespace, source.sha256, source.asset_type, workspace_id, only_for=only_for
        )
        return store_asset(
            source.file, source.asset_type, reserved_asset_id=reserved, workspace_id=workspace_id
        )

    def check_avatar(
        self, request: AvatarRequest, *, audio: str | None, workspace_id: str | None, validate: bool
    ) -> Call[CheckedBody]:
        """Make the body, and compare it with its model."""
        require_one_voice(audio, request.text, request.voice_given)
        if audio:
            reject_other_asset(audio, 2, "audio")
        # Checked without the account first: a wrong argument needs no key and no request.
        avatar = AvatarBody.of(request, workspace_id=workspace_id)
        if request.text and request.voice:
            voice = find_voice(request.voice, (yield from self.voices()))
            avatar = AvatarBody.of(replace(request, voice_id=voice.id, voice=None), workspace_id=workspace_id)
        require_voice(avatar.body)
        if not validate:
            return CheckedBody(avatar, workspace_id)
        # Inline speech costs extra: its models are asked for along with those of videos.
        types = ["video"] if audio else ["video", "text_to_speech"]
        catalogue = yield from calls.list_models(types)
        model = find_model(request.model, catalogue)
        if model is None:
            raise not_in_catalogue(request.model, catalogue)
        check_against_model(avatar.body, model, has_audio=bool(audio))
        return CheckedBody(avatar, workspace_id, catalogue, model)

    def draft_avatar(
        self,
        checked: CheckedBody,
        *,
        image: Source | str,
        audio: Source | str | None,
        only_for: str | None,
        upload: Upload,
    ) -> Call[BodyDraft]:
        """Upload what is a file, and fill in the body."""
        for name, given in (("image", image), ("audio", audio)):
            if isinstance(given, str):
                reject_other_asset(given, 2, name)

        def asset_of(medium: Source | str | None) -> Call[str | None]:
            if medium is None or isinstance(medium, str):
                return medium
            call = self.upload(medium, workspace_id=checked.workspace_id, only_for=only_for)
            return (yield from upload(medium, call)).asset_id

        image_id = yield from asset_of(image)
        audio_id = yield from asset_of(audio)
        body = checked.avatar.fill(catalogue=checked.catalogue, image_id=image_id, audio_id=audio_id)
        seconds = None if audio is None or isinstance(audio, str) else _seconds_of(audio)
        # extra_request may name another audio, which has another length and another price.
        is_measured = audio_id is not None and body.get("audio_id") == audio_id.lower()
        return BodyDraft(body, checked.catalogue, seconds if is_measured else None)

    def draft_body(
        self, body: Mapping[str, Any], *, workspace_id: str | None, validate: bool
    ) -> Call[BodyDraft]:
        """Check the body; where it is a video that names its model, against that model's limits too."""
        require_json(body, "request")
        body = dict(body)
        if not isinstance(body.get("type"), str):
            raise HedraValueError(
                "request: its type is missing.", param="type", remedy="Give e.g. 'type': 'video'."
            )
        reject_ids(body)
        batch_size(body)
        if workspace_id:
            body["workspace_id"] = workspace_id
        named = body.get("model_slug") or body.get("ai_model_id")
        if not (validate and named and body["type"] == "video"):
            return BodyDraft(body)
        catalogue = yield from calls.list_models(["video", "text_to_speech"])
        model = find_model(str(named), catalogue)
        if model is None:
            raise not_in_catalogue(str(named), catalogue)
        check_against_model(body, model)
        return BodyDraft(body, catalogue)

    def plain_draft(self, body: Mapping[str, Any]) -> BodyDraft:
        """Return the body as a draft."""
        return BodyDraft(body)

    def restored(self, kept: str, cost: str | None) -> BodyDraft:
        """Read the body again."""
        return BodyDraft(json.loads(kept), cost=cost)

    def variations(self, body: Mapping[str, Any] | None) -> int:
        """Return the ``batch_size``."""
        return batch_size(body or {})

    def paid_once(self, run: RunIdentity, *, records: SubmitRecords | None = None) -> PaidOnceV2:
        """Return what pays once by ids. With records, a later v3 key finds that v2 was paid."""
        return PaidOnceV2(run, records)

    def estimate(self, draft: BodyDraft, generations: int, *, required: bool) -> Call[Estimate | None]:
        """Estimate by the prices of the catalogue, with one request for the length of an audio."""
        if not required and not draft.catalogue:
            return None
        body = {**draft.body, "batch_size": generations}
        return (
            yield from budget.estimate_request(
                body, catalogue=draft.catalogue, audio_seconds=draft.audio_seconds
            )
        )

    def estimate_all(self, requests: Sequence[PricedRequest], *, param: str) -> Call[list[Estimate | None]]:
        """Estimate with one request for the catalogue, and one for the lengths of up to 100 audios."""
        models = yield from calls.list_models()
        bodies = [_named(priced_body, one, models, f"{param}[{n}]") for n, one in enumerate(requests)]
        return (yield from budget.estimate_requests(bodies, catalogue=models))

    def require_within(self, found: Estimate | None, limits: Limits, what: str) -> None:
        """Compare the upper bound with ``max_credits``."""
        budget.require_within(found, limits, what, currency=self.currency)

    def require_available(self, found: Estimate, balance: Balance) -> None:
        """Compare the upper bound with the credits of the workspace."""
        budget.require_covered(found, balance)

    def total(self, estimates: Iterable[Estimate]) -> Estimate:
        """Add up credits."""
        return pricing.total(estimates)

    def balance(self, workspace_id: str | None, *, must_exist: bool = False) -> Call[Balance]:
        """Return the credits of the workspace, else of the key's default pool."""
        found = yield from calls.get_credits()
        if must_exist and workspace_id and workspace_id not in (found.workspace_credit_pool or {}):
            raise HedraConfigurationError(f"The key knows no workspace {clean(workspace_id)}.")
        return records.Balance(
            available=found.available(workspace_id),
            currency=self.currency,
            pool=budget.pool_name(workspace_id),
        )

    def require_own(self, generation_id: str, param: str = "generation_id") -> None:
        """Reject the id of a v3 job."""
        reject_other_generation(generation_id, 2, param)

    def poll(self, generation_id: str) -> Call[Generation | None]:
        """Ask the status endpoint."""
        return calls.get_status(generation_id)

    def known(self, generation_id: str, *, repeat: bool = False) -> Call[Generation]:
        """Ask the status endpoint; a 404 is an error."""
        if repeat:
            return retry_unknown(lambda: get_known_status(generation_id))
        return get_known_status(generation_id)

    def results(self, generation_ids: Sequence[str]) -> Call[dict[str, Generation]]:
        """Read the rows of the list: the status lacks cost and size."""
        rows = yield from calls.list_generations(generation_ids)
        return {row.id: row for row in rows}

    def file_of(self, generation_id: str) -> Call[RemoteFile]:
        """Ask the status endpoint for a fresh URL."""
        return retry_unknown(lambda: generation_file(generation_id))

    def file_of_asset(self, asset_id: str, asset_type: str) -> Call[RemoteFile]:
        """Ask the list of assets for a fresh URL."""
        return retry_unknown(lambda: asset_file(asset_id, asset_type))

    def voices(self) -> Call[list[records.Voice]]:
        """Return the voices as records."""
        found = yield from calls.list_voices()
        return [
            records.Voice(
                id=voice.id,
                name=voice.name,
                labels=voice.labels,
                preview_url=voice.asset.preview_url if voice.asset else None,
            )
            for voice in found
        ]

    def models(self, types: Iterable[str] = ()) -> Call[list[Model]]:
        """Return the models with their limits and prices."""
        return calls.list_models(types)


def _seconds_of(voice: Source) -> Span:
    """Return how long the voice is. What Hedra states of an upload is not asked: its unit is not sure."""
    if voice.duration_ms is None or voice.at_most_ms is None:
        return pricing.UNKNOWN_SECONDS
    return pricing.measured_seconds(voice.duration_ms, voice.at_most_ms)


def _named(
    make: Callable[[PricedRequest, Sequence[Model]], Mapping[str, Any]],
    request: PricedRequest,
    models: Sequence[Model],
    where: str,
) -> Mapping[str, Any]:
    """Return the body of a request; its error begins with the place of the request."""
    try:
        return make(request, models)
    except HedraValueError as error:
        error.message = f"{where}: {error.message}"
        raise
