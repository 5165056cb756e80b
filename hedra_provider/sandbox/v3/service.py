"""What Hedra does behind API v3: takes uploads, submits jobs, makes their outputs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hedra_provider.sandbox import envelope, speech
from hedra_provider.sandbox.clock import iso
from hedra_provider.sandbox.media import Unreadable, reason
from hedra_provider.sandbox.store import StoreFull
from hedra_provider.sandbox.v3 import inputs, models, sniffing
from hedra_provider.sandbox.v3.answers import Answers
from hedra_provider.sandbox.v3.inputs import AssetReference, UrlReference
from hedra_provider.sandbox.v3.memory import OUTPUT_SECONDS, Memory
from hedra_provider.sandbox.v3.records import File, JobRecord
from hedra_provider.sandbox.v3.submits import Submit, Submits
from hedra_provider.sandbox.v3.webhooks import Webhooks, require_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.sandbox.records import Ending
    from hedra_provider.sandbox.signing import Signer
    from hedra_provider.sandbox.state import State
    from hedra_provider.sandbox.store import FileStore, Incoming
    from hedra_provider.sandbox.studio import Made, Studio

JsonObject = dict[str, Any]

_RENDER_WAIT_SECONDS = 2.0
"""How long an answer waits for a file that is due by the clock, in seconds of real time."""

_PREVIEW_MS = 2_000


class HedraV3:
    """See the module.

    :param state: of the whole sandbox: options, clock, memory that is left.
    :param store: the bytes of files.
    :param studio: makes and measures files.
    :param signer: makes URLs.
    :param seed: 32 bytes of the key that signs webhooks.
    :param save: saves the state for the next start; called after every change.
    """

    def __init__(
        self,
        state: State,
        store: FileStore,
        studio: Studio,
        signer: Signer,
        seed: bytes,
        save: Callable[[], None],
    ) -> None:
        self.state = state
        self.store = store
        self.memory = Memory(state.options, state.clock)
        self.answers = Answers(self.memory, signer)
        self.webhooks = Webhooks(self.memory, self.answers, seed, save)
        self._submits = Submits(self.memory)
        self._studio = studio
        self._signer = signer
        self.save = save

    # Uploads

    async def take_upload(self, incoming: Incoming) -> JsonObject:
        """Answer ``POST /files``. A file that is no usable medium gets a handle, too: a submit rejects it.

        :param incoming: the file, received whole.
        :raises Rejection: 400 for an empty file.
        """
        if not incoming.size:
            raise envelope.invalid("file", "The file is empty", "required")
        await incoming.complete()
        with incoming.path.open("rb") as opened:
            kind = sniffing.sniff(opened.read(sniffing.HEAD_BYTES))
        now = self.memory.clock.now()
        file = File(uuid4().hex, kind, now, expires_at=now + self.state.options.url_seconds)
        try:
            await self._measure(file, incoming)
        except Unreadable as error:
            file.unreadable = str(error)
        file.size = incoming.size
        file.file = incoming.keep()
        file.url = self._signer.url(f"/files/{file.id}")
        self.memory.add_upload(file)
        self.save()
        return self.answers.uploaded(file)

    async def _measure(self, file: File, incoming: Incoming) -> None:
        family = file.media_type.partition("/")[0]
        if family in ("image", "audio", "video"):
            file.facts = await self._studio.measure(incoming.path, family)
        elif not self.state.options.media:
            file.facts = await self._studio.measure(incoming.path, "audio")

    def find(self, where: str, reference: UrlReference | AssetReference) -> File:
        """Find the file behind a reference.

        :param where: the field.
        :param reference: an upload's handle, or an output.
        :raises Rejection: 400 if it is not usable.
        """
        self.memory.settle()
        if isinstance(reference, AssetReference):
            return self._output(where, reference.asset_id)
        file = self.memory.handles.get(reference.url)
        if file is None:
            message = "External URLs are not accepted. Upload the file with POST /v3/files, and pass its url"
            raise envelope.invalid(where, message, "external_url_rejected")
        if self.memory.clock.now() >= file.expires_at:
            message = f"the POST /v3/files url expired at {iso(file.expires_at)}. Upload the file again"
            raise envelope.invalid(where, message, "expired")
        return file

    def _output(self, where: str, asset_id: str) -> File:
        file = self.memory.files.get(asset_id)
        job = self.memory.jobs.get(file.job_id or "") if file else None
        if file is None or job is None:
            raise envelope.invalid(where, "The asset does not exist", "not_found")
        if self.memory.status(job) != "COMPLETED":
            raise envelope.invalid(where, "The asset is not ready", "not_ready")
        if self.memory.clock.now() >= job.created_at + OUTPUT_SECONDS:
            raise envelope.invalid(where, "The asset has expired", "expired")
        return file

    async def file(self, file_id: str) -> File | None:
        """Find the file behind a URL of the file origin; None for a file of API v2. The preview of a voice is
        made at the first request for it.

        :param file_id: of the URL.
        """
        self.memory.settle()
        voice = next((one for one in models.VOICES if one["id"] == file_id), None)
        if voice is not None and file_id not in self.memory.files:
            path = self.store.path(f"part-{uuid4().hex}")
            text = f"Hello, I am {voice['name']}."
            await asyncio.to_thread(speech.synthesise_speech, path, text, _PREVIEW_MS)
            name, size = await asyncio.to_thread(self.store.adopt, path)
            self.store.count(size)
            self.memory.files[file_id] = File(file_id, "audio/wav", 0.0, file=name, size=size)
        return self.memory.files.get(file_id)

    # Jobs

    async def submit(
        self, model: str, content: bytes, body: Any, header: str | None, ending: Ending | None
    ) -> JsonObject:
        """Answer a submit.

        :param model: of the path.
        :param content: the body's bytes.
        :param body: the body.
        :param header: the header ``Idempotency-Key``; None without one.
        :param ending: how the job will end by a fault; None, as usual.
        """
        inputs.require_known(model)
        if not isinstance(body, dict):
            raise envelope.invalid("body", "Input should be an object", "type")
        submit = Submit(model, content, body, header)

        def work() -> JsonObject:
            return self._submit(model, body, ending)

        answer = await self._submits.run(submit, work, lambda: self._check_handles(body))
        self.save()
        return answer

    def _submit(self, model: str, body: JsonObject, ending: Ending | None) -> JsonObject:
        if "input" not in body:
            raise envelope.invalid("input", "Field required", "required")
        url = body.get("webhook")
        if url is not None:
            url = require_url("webhook", url)
        field = body.get("idempotency_key")
        if field is not None and not isinstance(field, str):
            raise envelope.invalid("idempotency_key", "Input should be a valid string", "type")
        planned = inputs.plan(model, body["input"], self.find, any_media=not self.state.options.media)
        self.memory.check_parallel()
        self.memory.charge(planned.price)
        job = JobRecord(
            id=f"job_{uuid4()}",
            number=self.memory.next_number(),
            model=model,
            input=body["input"],
            created_at=self.memory.clock.now(),
            price=planned.price,
            work=planned.work,
            queue_seconds=self.state.options.queue_seconds,
            seconds=self.state.options.seconds,
            asset_id=f"asset_{uuid4()}",
            error=ending.error if ending else None,
            final_status=_final_status(ending),
        )
        self.memory.add(job)
        self.memory.files[job.asset_id] = File(
            job.asset_id, planned.media_type, job.created_at, facts=planned.facts, job_id=job.id
        )
        self.webhooks.register(job, url)
        self._start(job)
        return self.answers.submitted(job)

    def _check_handles(self, value: Any) -> None:
        if isinstance(value, dict):
            if value.get("source") == "url" and isinstance(value.get("url"), str):
                self.find("input", UrlReference(source="url", url=value["url"]))
            value = list(value.values())
        if isinstance(value, list):
            for one in value:
                self._check_handles(one)

    def estimate(self, model: str, body: Any) -> JsonObject:
        """Answer ``POST /models/{model}/estimate``. Avatars have no estimate (observed).

        :param model: of the path.
        :param body: the body.
        """
        inputs.require_known(model)
        if not isinstance(body, dict):
            raise envelope.invalid("body", "Input should be an object", "type")
        planned = inputs.plan(model, body.get("input", {}), self.find, any_media=not self.state.options.media)
        if model in models.AVATAR_MODELS:
            message = f"Model '{model}' cannot be estimated: its price depends on the length of the audio."
            raise envelope.rejection(400, message, code="FAILED_PRECONDITION")
        return {"model": model, "cost": planned.price / models.MICRO, "currency": "USD"}

    def delete(self, job: JobRecord) -> None:
        """Answer ``DELETE /jobs/{id}``.

        :param job: what to erase.
        :raises Rejection: 409 while it runs.
        """
        if not self.memory.is_ended(job):
            raise envelope.rejection(409, "The job has not finished.", code="FAILED_PRECONDITION")
        self.memory.settle()
        self.memory.erase(job)
        self.save()

    def _start(self, job: JobRecord) -> None:
        if not job.ends_by_fault:
            self._studio.make(job.work, lambda made: self._made(job, made))

    def _made(self, job: JobRecord, made: asyncio.Future[Made]) -> None:
        if made.cancelled() or self._studio.closed or self.memory.jobs.get(job.id) is not job:
            # The sandbox stops, or was reset. With a state file, the next start makes the file.
            return
        error = made.exception()
        if error is not None:
            why = str(error) if isinstance(error, (StoreFull, Unreadable)) else reason(error)
            self.memory.fail(
                job, {"code": "INTERNAL", "message": f"The sandbox could not make the file: {why}"}
            )
        else:
            output = self.memory.files[job.asset_id]
            output.file, output.size = made.result()
        self.save()

    async def wait_for_files(self, jobs: list[JobRecord]) -> None:
        """Wait a little for files that are due by the clock: with ``seconds=0``, a short job is complete at
        the first status request.

        :param jobs: what an answer is about.
        """
        now = self.memory.clock.now()
        due = {
            job.work
            for job in jobs
            if job.ends_at <= now and not job.ends_by_fault and not self.memory.has_file(job)
        }
        if due:
            await self._studio.wait(due, _RENDER_WAIT_SECONDS)

    def resume(self) -> None:
        """Start again what a restart interrupted."""
        for job in self.memory.jobs.values():
            if not self.memory.has_file(job):
                self._start(job)
        for delivery in self.memory.deliveries.values():
            if delivery.status == "DELIVERING":
                delivery.status = "PENDING"
        self.webhooks.start()

    # Back door

    def ledger(self) -> JsonObject:
        """Return the part of the ledger that is about API v3."""
        memory = self.memory
        balance = memory.balance
        money = {"remaining": balance, "spent": memory.spent, "refunded": memory.refunded}
        return {
            "submissions_v3": memory.submissions,
            "usd": {name: amount / models.MICRO for name, amount in money.items()},
        }


def _final_status(ending: Ending | None) -> str:
    if ending is None:
        return "COMPLETED"
    # "error" is the default of a fault, and a word of API v2.
    return "FAILED" if ending.status == "error" else ending.status
