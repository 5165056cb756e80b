"""One function per endpoint of Hedra's v3 API, without I/O: the same kind of calls as v2's.

Every call (see :mod:`hedra_provider.api.exchange`) raises the errors of :mod:`hedra_provider.api.errors`.
Endpoints and fields are those of Hedra's published v3 schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hedra_provider.api.errors import HedraNotFoundError, HedraProtocolError
from hedra_provider.api.exchange import (
    UPLOAD_TIMEOUT_SECONDS,
    Ask,
    Call,
    is_http,
    parse,
    read,
    segment,
    send,
)
from hedra_provider.api.rate_limit import answered_at
from hedra_provider.api.redaction import clean
from hedra_provider.api.v3.responses import (
    BalanceAnswer,
    Dated,
    Delivery,
    DeliveryPage,
    EstimateAnswer,
    FileHandle,
    Job,
    JobPage,
    JobStatus,
    ModelDetail,
    ModelPage,
    ModelSummary,
    PublicKey,
    SubmittedJob,
    UsageAnswer,
    VoiceAnswer,
    VoicePage,
)

if TYPE_CHECKING:
    from hedra_provider.api.sized_file import SizedFile

D = TypeVar("D", bound=Dated)
J = TypeVar("J", JobStatus, Job)

KeyPlace = Literal["header", "body", "both"]
"""Where Hedra reads an idempotency key: the header, or the body's ``idempotency_key`` (until spec 3.17)."""


def upload_file(file: SizedFile) -> Call[FileHandle]:
    """
    Upload a file. Repeating it costs nothing.

    Only ``HedraClient`` sends files: reading one would block an event loop.

    :param file: The file.
    :return: The handle to put into a submit's body, unchanged. It lives one hour.
    """
    ask = Ask("POST", "/files", file=file, multipart=True, timeout=UPLOAD_TIMEOUT_SECONDS)
    handle = yield from read(FileHandle, ask)
    if not is_http(handle.url):
        raise HedraProtocolError("Hedra sent a file handle that is not an http(s) URL.")
    return handle


def submit_job(
    model: str, body: bytes, *, idempotency_key: str, place: KeyPlace = "header"
) -> Call[SubmittedJob]:
    """
    Submit a job: the one call that costs. No client repeats it without a clear answer.

    :param model: The model, e.g. ``hedra-avatar``.
    :param body: The exact JSON. With ``place`` "body" or "both", it holds ``idempotency_key`` already.
    :param idempotency_key: Hedra answers the same key with the same body by the same job.
    :param place: Where the key is sent: ``header`` (default), ``body`` or ``both``.
    :return: The job.
    """
    headers = None if place == "body" else {"Idempotency-Key": idempotency_key}
    path = f"/models/{segment(model)}"
    ask = Ask("POST", path, content=body, headers=headers, repeatable=False)
    return (yield from _read_dated(SubmittedJob, ask))


def get_status(job_id: str) -> Call[JobStatus | None]:
    """
    Return the status of a job.

    :param job_id: The job.
    :return: The status; None if Hedra does not know the job.
    """
    return (yield from _read_job(JobStatus, f"/jobs/{segment(job_id)}/status", job_id))


def get_job(job_id: str) -> Call[Job | None]:
    """
    Return a job with its outputs, error and cost.

    :param job_id: The job.
    :return: The job; None if Hedra does not know it.
    """
    return (yield from _read_job(Job, f"/jobs/{segment(job_id)}", job_id))


def list_jobs(*, model: str | None = None, cursor: str | None = None, limit: int = 100) -> Call[JobPage]:
    """
    Return a page of the jobs, newest first.

    :param model: Jobs of one model only; all by default.
    :param cursor: ``next_cursor`` of the page before; the first page by default.
    :param limit: Rows of a page, 1 to 100 (default).
    """
    path = f"/models/{segment(model)}/jobs" if model else "/jobs"
    return (yield from _read_dated(JobPage, Ask("GET", path, params=_page(cursor, limit))))


def get_balance() -> Call[BalanceAnswer]:
    """Return what the key's account can spend."""
    return (yield from read(BalanceAnswer, Ask("GET", "/balance")))


def get_usage(
    start: str | None = None, end: str | None = None, group_by: str | None = None
) -> Call[UsageAnswer]:
    """
    Return what the account has spent.

    :param start: ISO 8601, included; Hedra's default without it.
    :param end: ISO 8601, not included; Hedra's default without it.
    :param group_by: ``total``, ``day`` or ``model``; Hedra's default without it.
    """
    params = {"start": start or "", "end": end or "", "group_by": group_by or ""}
    return (yield from read(UsageAnswer, Ask("GET", "/usage", params=params)))


def estimate(model: str, model_input: Mapping[str, Any]) -> Call[EstimateAnswer]:
    """
    Return the price of a job. Hedra checks the input and charges nothing.

    It rejects avatar models (observed).

    :param model: The model.
    :param model_input: ``input`` of the submit.
    """
    ask = Ask("POST", f"/models/{segment(model)}/estimate", json={"input": dict(model_input)})
    return (yield from read(EstimateAnswer, ask))


def list_models(modality: str | None = None) -> Call[list[ModelSummary]]:
    """
    Return the catalogue of models.

    :param modality: ``image``, ``video`` or ``audio``; all by default.
    """
    return (yield from read(ModelPage, Ask("GET", "/models", params={"modality": modality or ""}))).data


def get_model(model: str) -> Call[ModelDetail]:
    """
    Return a model with the JSON schema of its input.

    :param model: The model.
    """
    return (yield from read(ModelDetail, Ask("GET", f"/models/{segment(model)}")))


def list_voices(model: str) -> Call[list[VoiceAnswer]]:
    """
    Return the voices of a speech model.

    :param model: The model, e.g. ``elevenlabs-v3``.
    """
    return (yield from read(VoicePage, Ask("GET", f"/models/{segment(model)}/voices"))).data


def list_deliveries(cursor: str | None = None, limit: int = 100) -> Call[DeliveryPage]:
    """
    Return a page of the webhook deliveries, newest first.

    :param cursor: ``next_cursor`` of the page before; the first page by default.
    :param limit: Rows of a page, 1 to 100 (default).
    """
    return (yield from read(DeliveryPage, Ask("GET", "/webhooks/deliveries", params=_page(cursor, limit))))


def redeliver(job_id: str) -> Call[Delivery]:
    """
    Let Hedra send the webhook of a finished job again.

    :param job_id: The job.
    """
    path = f"/webhooks/deliveries/{segment(job_id)}/redeliver"
    return (yield from read(Delivery, Ask("POST", path, repeatable=False), job_id))


def get_public_key() -> Call[PublicKey]:
    """Return the key that webhook deliveries are signed by."""
    return (yield from read(PublicKey, Ask("GET", "/webhooks/public-key")))


def _page(cursor: str | None, limit: int) -> dict[str, str]:
    return {"limit": str(limit), "cursor": cursor or ""}


def _read_dated(kind: type[D], ask: Ask, job_id: str | None = None) -> Call[D]:
    """Send a request; return its answer with the time at which Hedra sent it."""
    response = yield from send(ask, job_id)
    answer = parse(kind, response, ask, job_id)
    return answer.model_copy(update={"answered_at": answered_at(response)})


def _read_job(kind: type[J], path: str, job_id: str) -> Call[J | None]:
    try:
        found = yield from _read_dated(kind, Ask("GET", path), job_id)
    except HedraNotFoundError as error:
        if error.status_code != 404:
            raise
        return None
    if found.job_id.lower() != job_id.lower():
        raise HedraProtocolError(
            f"Hedra answered a request for job {job_id} with {clean(found.job_id)}.", generation_id=job_id
        )
    return found
