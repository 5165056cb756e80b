"""The answers of the v2 API as pydantic models.

Unknown fields are ignored, and missing or mistyped ones are None: if a later version of the API renames a
field, that must not end a wait for a paid generation. Only fields that every caller needs are required.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    GetCoreSchemaHandler,
)
from pydantic_core import core_schema

from hedra_provider import records
from hedra_provider.api.redaction import clean_code

T = TypeVar("T")


class _OrNone:
    """Makes a field None if its value has another type. Pydantic's core does that without Python code."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_default_schema(handler(source), default=None, on_error="default")


Lenient = Annotated[T | None, _OrNone()]
"""An optional field, None if the API sends another type than documented."""


Shown = Annotated[Lenient[str], AfterValidator(clean_code)]
"""A text for logs and XComs: cleaned to one short line without secrets."""

ShownId = Annotated[str, AfterValidator(clean_code)]

SignedUrl = Annotated[Lenient[str], Field(repr=False)]
"""A signed URL: everyone who has it can fetch the file, so no traceback shows it."""


class Answer(BaseModel):
    """The base of all answers."""

    model_config = ConfigDict(
        extra="ignore",
        frozen=True,
        protected_namespaces=(),
        # Python's JSON reads NaN and Infinity; no field can have such a value, and a database may reject it.
        allow_inf_nan=False,
    )


class Media(Answer):
    """The file behind an asset: an upload or a result. Its URLs are signed and last about an hour."""

    type: Lenient[str] = None
    url: SignedUrl = None
    download_url: SignedUrl = None
    width: Lenient[int] = None
    height: Lenient[int] = None
    duration_ms: Lenient[int] = None
    preview_url: SignedUrl = None
    labels: Lenient[list[dict[str, Any]]] = None


class Asset(Answer):
    """An image, audio, video or voice of the account."""

    id: ShownId
    type: Lenient[str] = None
    name: Lenient[str] = None
    asset: Lenient[Media] = None

    @property
    def file_url(self) -> str | None:
        """The URL of the file, ``download_url`` before ``url``; None for an unfinished upload."""
        return (self.asset.download_url or self.asset.url) if self.asset else None


class Voice(Asset):
    """A voice for inline speech."""

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the voice, e.g. ``{"language": "English", "gender": "female"}``."""
        pairs = (self.asset.labels if self.asset else None) or []
        return {str(pair.get("name")): str(pair.get("value")) for pair in pairs if pair.get("name")}

    def record(self) -> records.Voice:
        """Return the voice as the provider's own record."""
        preview_url = self.asset.preview_url if self.asset else None
        return records.Voice(id=self.id, name=self.name, labels=self.labels, preview_url=preview_url)


class CreatedAsset(Answer):
    """The answer to ``POST /assets``. Only a video has an ``upload_url``, a signed URL for an HTTP PUT."""

    id: ShownId
    upload_url: SignedUrl = None


class Variation(Answer):
    """One variation of a batch, in the answer to ``POST /generations``; without an id if it failed."""

    id: Lenient[str] = None
    asset_id: Lenient[str] = None
    status: Lenient[str] = None
    error: Any = None

    def record(self, generation_id: str, generation_type: str | None) -> records.Generation:
        """
        Return the variation as a record.

        :param generation_id: The id that the submit chose, used if the variation has none.
        :param generation_type: The type of the batch, e.g. ``video``.
        """
        facts = self.model_dump() | {"id": self.id or generation_id, "type": generation_type}
        return Generation.model_validate(facts).record()


class Generation(Answer):
    """
    A generation, as a submit, the status endpoint or the list returns it.

    Documented statuses are queued, processing, finalizing, complete and error. Fields that an endpoint lacks
    are None: only the list has ``input`` and ``credit_cost``.
    """

    id: ShownId
    asset_id: Shown = None
    type: Shown = None
    status: Shown = None
    progress: Lenient[FiniteFloat] = None
    eta_sec: Lenient[FiniteFloat] = None
    created_at: Shown = None
    error: Any = None
    error_message: Lenient[str] = None
    url: SignedUrl = None
    download_url: SignedUrl = None
    workspace_id: Shown = None
    credit_cost: Lenient[int] = None
    input: Lenient[dict[str, Any]] = None
    asset: Lenient[Asset] = None
    batch_results: Lenient[list[Variation]] = None

    def record(self) -> records.Generation:
        """Return the generation as a record: what the rest of the provider reads, on both versions."""
        media = self.asset.asset if self.asset else None
        return records.Generation(
            id=self.id,
            status=self.status,
            type=self.type,
            progress=self.progress,
            eta_sec=self.eta_sec,
            created_at=self.created_at,
            # The list has it inside `asset` only.
            asset_id=self.asset_id or (self.asset.id if self.asset else None),
            error=self.error,
            error_message=self.error_message,
            # A complete generation without a URL was seen too.
            file_url=self.download_url or self.url or (self.asset.file_url if self.asset else None),
            workspace_id=self.workspace_id,
            cost=self.credit_cost,
            currency=records.CREDITS,
            width=media.width if media else None,
            height=media.height if media else None,
            duration_ms=media.duration_ms if media else None,
            request=self.input,
        )


class Page(Answer):
    """A page of ``GET /generations``. ``data`` is required: an answer without it is not an empty page."""

    data: list[Generation]


GRACE_SECONDS = 1
"""How far an audio may exceed a model's maximum. Hedra's schema names such a tolerance
(``DURATION_MAX_TOLERANCE_MS``) but not its size. Such an audio is accepted and may be billed in full."""


class Slot(Answer):
    """The limits of one input of a model."""

    type: Lenient[str] = None
    role: Lenient[str] = None
    required: Lenient[bool] = None
    max_file_size_bytes: Lenient[int] = None
    min_dimension_px: Lenient[int] = None
    max_dimension_px: Lenient[int] = None
    min_duration_ms: Lenient[int] = None
    max_duration_ms: Lenient[int] = None

    @property
    def longest_ms(self) -> int | None:
        """The longest file that is accepted, in milliseconds; None if none is too long."""
        return self.max_duration_ms + GRACE_SECONDS * 1000 if self.max_duration_ms else None


class InputMode(Answer):
    """A set of inputs that go together."""

    mode: Lenient[str] = None
    slots: Lenient[list[Slot]] = None


class Model(Answer):
    """A model of the catalogue with its limits. ``id`` may be null; ``slug`` is the stable name."""

    id: Lenient[str] = None
    slug: Lenient[str] = None
    name: Lenient[str] = None
    type: Lenient[str] = None
    aspect_ratios: Lenient[list[str]] = None
    aspect_ratio_range: Lenient[list[float]] = None
    resolutions: Lenient[list[str]] = None
    max_duration_ms: Lenient[int] = None
    requires_start_frame: Lenient[bool] = None
    requires_audio_input: Lenient[bool] = None
    min_prompt_length: Lenient[int] = None
    max_prompt_length: Lenient[int] = None
    inputs: Lenient[list[InputMode]] = None
    pricing: Lenient[dict[str, Any]] = None
    price_details: Lenient[dict[str, Any]] = None

    def slot(self, media_type: str) -> Slot | None:
        """
        Return the model's first input of a media type.

        :param media_type: ``image``, ``audio`` or ``video``.
        :return: None if it has no such input.
        """
        for mode in self.inputs or []:
            for slot in mode.slots or []:
                if slot.type == media_type:
                    return slot
        return None


class CreditPool(Answer):
    """The credits of one workspace."""

    used: Lenient[int] = None
    allocated: Lenient[int] = None
    available: Lenient[int] = None
    api_credits: Lenient[int] = None
    api_usd_micros: Lenient[int] = None


class Credits(Answer):
    """The answer to ``GET /billing/credits``, in credits."""

    remaining: Lenient[int] = None
    expiring: Lenient[int] = None
    used: Lenient[int] = None
    workspace_credit_pool: Lenient[dict[str, CreditPool]] = None

    def available(self, workspace_id: str | None) -> int | None:
        """
        Return the credits that a request can spend.

        :param workspace_id: The workspace that pays; None for the key's default pool.
        :return: Credits; None if Hedra does not state them.
        """
        if workspace_id is None:
            return self.remaining
        pool = (self.workspace_credit_pool or {}).get(workspace_id)
        return pool.available if pool else None

    def record(self, workspace_id: str | None) -> records.Balance:
        """
        Return the credits that a request can spend as the provider's own record.

        :param workspace_id: The workspace that pays; None for the key's default pool.
        """
        pool = "the key's default pool" if workspace_id is None else f"workspace {workspace_id}"
        return records.Balance(available=self.available(workspace_id), currency=records.CREDITS, pool=pool)
