"""A Hedra in memory for the submit flow, with a switch for each thing that v3's documents leave open.

It answers the steps of a call directly: no network, and a clock that moves only when it is moved. A process
can be stopped between any two steps, also between the arrival of a request at Hedra and its answer.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import httpx

from hedra_provider.api.calls import Ask, Call, Pause
from hedra_provider.api.errors import HedraError, HedraStateError, HedraTransportError
from hedra_provider.submission.identity import account_namespace
from hedra_provider.submission.v3.record import TryRecord
from hedra_provider.submission.v3.run import JobDraft, JobRun, PreparedBody
from hedra_provider.submission.v3.store import MemoryStore

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MODEL = "hedra-avatar"
API_KEY = "key_one:secret"
START = 1_790_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def move(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Job:
    id: str
    model: str
    body: bytes
    created_at: float
    owner: str
    status: str = "IN_PROGRESS"


class Hedra:
    """
    :param key_lives: Seconds after which a key is forgotten; None: never.
    :param reads_key_in: ``header``, ``body`` or ``nothing``: the key is ignored.
    :param compares: ``bytes``, ``json`` or ``nothing``: when a body counts as another one.
    :param burns: Whether a rejected submit uses its key up.
    :param at_once: What a second send meets while the first is under way: ``conflict`` or ``another job``.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        key_lives: float | None = None,
        reads_key_in: str = "header",
        compares: str = "bytes",
        burns: bool = False,
        at_once: str = "conflict",
        list_lags: float = 0.0,
    ) -> None:
        self.clock = clock
        self.key_lives, self.reads_key_in, self.compares = key_lives, reads_key_in, compares
        self.burns, self.at_once, self.list_lags = burns, at_once, list_lags
        self.jobs: list[Job] = []
        self.keys: dict[str, tuple[float, bytes, Job | None]] = {}
        self.under_way: dict[str, int] = {}
        self.asked: list[str] = []
        self.sent: list[tuple[str | None, bytes]] = []
        self.answers: list[tuple[int, str]] = []
        """What the next submits are answered instead: status and code."""
        self.owner = "key_one"
        self.uploads = 0
        self.has_date = True

    @property
    def paid(self) -> int:
        return sum(job.status != "FAILED" for job in self.jobs)

    def _answer(self, ask: Ask, status: int, body: Any) -> httpx.Response:
        headers = {"Date": formatdate(self.clock.now, usegmt=True)} if self.has_date else {}
        request = httpx.Request(ask.method, f"https://hedra.invalid/v3{ask.url}")
        return httpx.Response(status, json=body, headers=headers, request=request)

    def _error(self, ask: Ask, status: int, code: str) -> httpx.Response:
        error = {"code": code, "message": f"no: {code}", "retryable": status >= 429}
        return self._answer(ask, status, {"error": error, "trace_id": "trace"})

    def arrive(self, ask: Ask) -> httpx.Response:
        """Do what a request asks for, and return its answer."""
        self.asked.append(f"{ask.method} {ask.url}")
        if ask.method == "POST" and ask.url == "/files":
            self.uploads += 1
            url = f"https://files.invalid/handle-{self.uploads}"
            return self._answer(ask, 201, {"url": url, "expires_at": _iso(self.clock.now + HOUR)})
        if ask.method == "POST":
            return self._submit(ask)
        if ask.url.endswith("/jobs"):
            model = ask.url.split("/")[2] if ask.url.startswith("/models/") else None
            return self._list(ask, model)
        job = next((one for one in self.jobs if one.id in ask.url and one.owner == self.owner), None)
        if job is None:
            return self._error(ask, 404, "NOT_FOUND")
        return self._answer(ask, 200, self._row(job) | {"cost": 0.42, "currency": "USD", "outputs": []})

    def _row(self, job: Job) -> dict[str, Any]:
        return {
            "job_id": job.id,
            "model": job.model,
            "status": job.status,
            "created_at": _iso(job.created_at),
        }

    def _list(self, ask: Ask, model: str | None) -> httpx.Response:
        seen = self.clock.now - self.list_lags
        rows = [job for job in self.jobs if job.owner == self.owner and job.created_at <= seen]
        rows = [job for job in rows if model in (None, job.model)]
        rows.sort(key=lambda job: -job.created_at)
        limit = int(ask.params["limit"])
        begin = int(ask.params["cursor"] or 0)
        page = {"data": [self._row(job) for job in rows[begin : begin + limit]]}
        more = begin + limit < len(rows)
        return self._answer(ask, 200, page | {"next_cursor": str(begin + limit) if more else None})

    def _submit(self, ask: Ask) -> httpx.Response:
        body = ask.content
        key = (ask.headers or {}).get("Idempotency-Key")
        self.sent.append((key, body))
        if self.reads_key_in == "body":
            key = json.loads(body).get("idempotency_key")
        elif self.reads_key_in == "nothing":
            key = None
        known = self.keys.get(key or "")
        if known and self.key_lives is not None and self.clock.now - known[0] > self.key_lives:
            known = None
        if known and self.under_way.get(key or ""):
            if self.at_once == "conflict":
                return self._error(ask, 409, "ALREADY_IN_PROGRESS")
            known = None
        if known:
            _, first, job = known
            if job is None or not self._same(first, body):
                return self._error(ask, 409, "ALREADY_EXISTS")
            return self._answer(ask, 202, self._row(job))
        if self.answers:
            status, code = self.answers.pop(0)
            if self.burns and key and status not in (429, 500):
                self.keys[key] = self.clock.now, body, None
            return self._error(ask, status, code)
        job = Job(f"job_{uuid.uuid4()}", ask.url.split("/")[2], body, self.clock.now, self.owner)
        self.jobs.append(job)
        if key:
            self.keys[key] = self.clock.now, body, job
        return self._answer(ask, 202, self._row(job))

    def _same(self, one: bytes, other: bytes) -> bool:
        if self.compares == "json":
            return json.loads(one) == json.loads(other)
        return self.compares == "nothing" or one == other


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z")


class Killed(BaseException):
    """The process is gone."""


class Store(MemoryStore):
    """A store that can fail, and at which a process can be killed."""

    def __init__(self, world: World, key: str) -> None:
        super().__init__(key, world.shared)
        self.world = world

    def read(self) -> list[TryRecord]:
        self.world.event("read")
        return super().read()

    def write(self, record: TryRecord) -> None:
        self.world.event("write")
        first_failing = self.world.first_failing_write
        if first_failing is not None and self.world.events.count("write") >= first_failing:
            raise HedraStateError("memory can't be written to.", retryable=True)
        super().write(record)
        self.world.event("written")


class Process:
    """A worker's process that drives a call, one step at a time."""

    def __init__(self, world: World, call: Call[Any]) -> None:
        self.world, self.call = world, call
        self.pending: Any = None
        self.answer: Any = None
        self.is_started = self.is_done = False
        self.result: Any = None
        self.error: HedraError | None = None
        self.wake_at = 0.0
        self.key: str | None = None

    @property
    def is_sending(self) -> bool:
        """Whether its next step is the arrival of a submit at Hedra."""
        return self.answer is None and _is_submit(self.pending)

    def step(self, fate: str = "answered") -> None:
        """
        Go one step.

        :param fate: Of a request that leaves now: ``answered``, ``lost`` (it never arrives), ``cut`` (it
            arrives, its answer does not) or ``unsent`` (no connection).
        """
        hedra = self.world.hedra
        if not self.is_started:
            self.is_started = True
            self._resume(None)
        elif isinstance(self.pending, Pause):
            self.world.clock.now = max(self.world.clock.now, self.wake_at)
            self._resume(None)
        elif self.answer is None:
            self.world.event(f"send {self.pending.method} {self.pending.url}")
            request = httpx.Request(self.pending.method, "https://hedra.invalid")
            if fate in ("answered", "cut"):
                self.key = (self.pending.headers or {}).get("Idempotency-Key", "")
                self.answer = hedra.arrive(self.pending)
                if _is_submit(self.pending):
                    hedra.under_way[self.key] = hedra.under_way.get(self.key, 0) + 1
                self.world.event(f"arrived {self.pending.method} {self.pending.url}")
            if fate in ("lost", "cut"):
                self.answer = httpx.ReadTimeout("no answer", request=request)
            elif fate == "unsent":
                self.answer = httpx.ConnectError("no connection", request=request)
        else:
            self.leave_hedra()
            answer, self.answer = self.answer, None
            self._resume(answer)

    def leave_hedra(self) -> None:
        """End the request at Hedra: it is not under way any more."""
        if _is_submit(self.pending) and self.key is not None:
            self.world.hedra.under_way[self.key] -= 1
        self.key = None

    def _resume(self, answer: Any) -> None:
        try:
            if isinstance(answer, Exception):
                self.pending = self.call.throw(answer)
            else:
                self.pending = self.call.send(answer)
        except StopIteration as done:
            self.is_done, self.result = True, done.value
        except HedraError as error:
            self.is_done, self.error = True, error
        if isinstance(self.pending, Pause):
            self.wake_at = self.world.clock.now + self.pending.seconds

    def finish(self, fates: Callable[[], str] = lambda: "answered") -> Process:
        for _ in range(5_000):
            if self.is_done:
                return self
            self.step(fates() if self.is_sending else "answered")
        raise AssertionError("it goes on for ever")


def _is_submit(step: Any) -> bool:
    return isinstance(step, Ask) and step.method == "POST" and step.url.startswith("/models/")


@dataclass
class World:
    """Hedra, a store, and attempts of task runs."""

    clock: Clock = field(default_factory=Clock)
    hedra: Any = None
    shared: dict[Any, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    kill_at: int | None = None
    first_failing_write: int | None = None
    tries: Any = field(default_factory=lambda: itertools.count(1))

    @classmethod
    def of(cls, **switches: Any) -> World:
        world = cls()
        world.hedra = Hedra(world.clock, **switches)
        return world

    def event(self, name: str) -> None:
        """Something happens; the process may be killed just before."""
        self.events.append(name)
        assert len(self.events) < 5_000, "it goes on for ever"
        if self.kill_at is not None and len(self.events) > self.kill_at:
            raise Killed

    def run(self, *, key: str = "run", group: str = "group", api_key: str = API_KEY, **fields: Any) -> JobRun:
        known: dict[str, Any] = {
            "step": "job",
            "namespace": account_namespace(API_KEY),
            "now": lambda: self.clock.now,
            "jitter": lambda: 0.0,
            "notify": self.log.append,
            "try_id": f"try-{next(self.tries):04}",
        }
        return JobRun(key=key, attempt_group=group, api_key=api_key, **{**known, **fields})

    def draft(self, prompt: str = "p", *, model: str = MODEL) -> JobDraft:
        """Return the request of a task with one file."""

        def make_body() -> Call[PreparedBody]:
            try:
                response = yield Ask("POST", "/files")
            except httpx.RequestError as error:
                raise HedraTransportError("No answer to POST /files.") from error
            handle = response.json()
            expires = datetime.fromisoformat(handle["expires_at"]).timestamp()
            content = {"input": {"prompt": prompt, "audio": {"source": "url", "url": handle["url"]}}}
            return PreparedBody(content=json.dumps(content).encode(), handles_expire_at=expires)

        return JobDraft(
            model=model,
            fingerprint=f"{model} {prompt}",
            make_body=make_body,
        )

    def attempt(self, prompt: str = "p", *, draft: JobDraft | None = None, **run: Any) -> Process:
        """Return the process of an attempt as an operator makes it: resume, else draft and obtain."""
        return Process(self, self._attempt(self.run(**run), draft or self.draft(prompt)))

    def _attempt(self, run: JobRun, draft: JobDraft) -> Call[Any]:
        from hedra_provider.submission.v3.submit import obtain_job, resume_job

        store = Store(self, run.key)
        found = yield from resume_job(run, store)
        return found or (yield from obtain_job(run, draft, store))

    def records(self, key: str = "run") -> list[TryRecord]:
        return MemoryStore(key, self.shared).read()

    def job_ids(self) -> list[str]:
        return [job.id for job in self.hedra.jobs]
