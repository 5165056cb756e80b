"""The main cells of the failure table over real HTTP: what the sandbox's ledger says was paid for."""

from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api.client import HedraClient
from hedra_provider.api.errors import HedraAPIError, HedraError, HedraStateError
from hedra_provider.api.sized_file import SizedFile
from hedra_provider.api.v3 import calls
from hedra_provider.storage.state_path import StatePathStore
from hedra_provider.submission.identity import account_namespace
from hedra_provider.submission.v3.run import JobDraft, JobRun, JobSubmission, PreparedBody
from hedra_provider.submission.v3.submit import adopt_job, obtain_job, resume_job
from tests.media import png, wav

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hedra_provider.api.calls import Call
    from hedra_provider.testing import Sandbox, Sandboxes

MODEL = "hedra-avatar"
MINUTE = 60.0
SUBMIT = "POST /v3/models/{model}"


class Task:
    """A task run. Each attempt is a process of its own: it has a client, and reads the records again."""

    def __init__(self, sandbox: Sandbox, state: Path) -> None:
        self.sandbox, self.state = sandbox, state
        self.log: list[str] = []
        self.tries = 0
        self.now = time.time()

    def attempt(self, prompt: str = "A person speaking", **run: Any) -> JobSubmission:
        """Run an attempt as an operator does: resume, else draft and obtain."""
        self.tries += 1
        key = self.sandbox.api_key_v3
        known: dict[str, Any] = {
            "key": "run",
            "attempt_group": "group",
            "step": "avatar",
            "namespace": account_namespace(key),
            "api_key": key,
            "try_id": f"try-{self.tries}",
            "notify": self.log.append,
            "now": lambda: self.now,
        }
        this = JobRun(**{**known, **run})
        store = StatePathStore(str(self.state), this.key)
        with self.client() as client:
            found = client.run(resume_job(this, store))
            return found or client.run(obtain_job(this, _draft(prompt), store))

    def client(self) -> HedraClient:
        return HedraClient(
            self.sandbox.api_key_v3,
            base_url=self.sandbox.base_url_v3,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        """Move both clocks, the worker's and the sandbox's."""
        self.now += int(seconds) + 1
        self.sandbox.advance(int(seconds) + 1)

    @property
    def paid(self) -> int:
        return sum(row["usd"] > 0 for row in self.sandbox.submissions_v3)


def _draft(prompt: str) -> JobDraft:
    def make_body() -> Call[PreparedBody]:
        handles, lapses = [], []
        for content, name, kind in ((png(), "face.png", "image/png"), (wav(1.0), "voice.wav", "audio/wav")):
            handle = yield from calls.upload_file(SizedFile(io.BytesIO(content), len(content), name, kind))
            handles.append({"source": "url", "url": handle.url})
            lapses.append(handle.expires_at_epoch)
        fields = {"prompt": prompt, "aspect_ratio": "9:16", "resolution": "540p"}
        image, audio = handles
        body = {"input": {**fields, "start_image": image, "audio": audio}}
        return PreparedBody(content=json.dumps(body).encode(), handles_expire_at=min(filter(None, lapses)))

    return JobDraft(model=MODEL, fingerprint=prompt, make_body=make_body)


@pytest.fixture
def task(hedra_sandboxes: Sandboxes, tmp_path: Path) -> Callable[..., Task]:
    def make(**options: Any) -> Task:
        return Task(hedra_sandboxes.get(api="3", media=False, **options), tmp_path / "state")

    return make


def test_a_retry_and_a_clear_pay_once(task: Callable[..., Task]):
    one = task()
    made = one.attempt()
    assert (made.adopted, made.paid_here) == (False, True)
    assert one.attempt("rendered otherwise").job_id == made.job_id
    assert one.attempt(attempt_group="after a clear").job_id == made.job_id
    assert one.paid == 1
    another = one.attempt("changed", attempt_group="after another clear")
    assert (another.job_id != made.job_id, one.paid) == (True, 2)


CUT = {"on": SUBMIT, "when": "after", "reset": True, "times": None}
LOST = {"on": SUBMIT, "when": "before", "reset": True, "times": None}

TABLE = [
    # The fault of the first attempt, the sandbox's switches, minutes until the retry; its end, how many paid.
    (LOST, {}, 1, "job", 1),
    (LOST, {}, 20, "job", 1),
    (LOST, {}, 40, "job", 1),
    (CUT, {}, 1, "job", 1),
    (CUT, {}, 20, "job", 1),
    (CUT, {}, 40, "stop", 1),
    (CUT, {"compare": "json"}, 20, "job", 1),
    (CUT, {"burn_rejected_keys": True}, 20, "job", 1),
    (CUT, {"lapsed_replay": "expired"}, 20, "job", 1),
    (CUT, {"idempotency": "ignore"}, 40, "stop", 3),
    (CUT, {"idempotency": "ignore"}, 1, "job", 4),
]


@pytest.mark.parametrize(("fault", "switches", "minutes", "end", "paid"), TABLE)
def test_a_lost_answer(
    task: Callable[..., Task], fault: Any, switches: Any, minutes: int, end: str, paid: int
):
    one = task(**switches)
    one.sandbox.faults(fault)
    with pytest.raises(HedraError) as caught:
        one.attempt()
    assert (caught.value.outcome_unknown, caught.value.retryable) == (True, True)
    one.sandbox.faults()
    one.sleep(minutes * MINUTE)
    if end == "job":
        assert not one.attempt().generation.is_failed
    else:
        with pytest.raises(HedraStateError, match="job_") as stop:
            one.attempt()
        assert (stop.value.retryable, stop.value.outcome_unknown) == (False, True)
        named = one.sandbox.submissions_v3[0]["job_id"]
        assert named in str(stop.value)
        run = JobRun(
            key="run",
            attempt_group="group",
            step="avatar",
            namespace=account_namespace(one.sandbox.api_key_v3),
            api_key=one.sandbox.api_key_v3,
            try_id="named",
        )
        with one.client() as client:
            adopted = client.run(adopt_job(run, StatePathStore(str(one.state), "run"), named))
        assert (adopted.job_id, adopted.paid_here) == (named, True)
        assert one.attempt().job_id == named
    assert one.paid == paid


@pytest.mark.parametrize("place", ["header", "body", "both"])
@pytest.mark.parametrize("read", ["header", "body", "both"])
def test_the_place_of_the_key(task: Callable[..., Task], place: Any, read: str):
    one = task(idempotency=read)
    one.sandbox.faults({**CUT, "times": 1})
    made = one.attempt(place=place)
    is_read = "both" in (place, read) or place == read
    assert one.paid == (1 if is_read else 2)
    assert made.job_id in {row["job_id"] for row in one.sandbox.submissions_v3}


def test_a_rejected_submit_takes_the_next_key(task: Callable[..., Task]):
    for burns in (False, True):
        one = task(burn_rejected_keys=burns)
        one.sandbox.faults({"on": SUBMIT, "status": 400, "body": {"error": {"code": "INVALID_ARGUMENT"}}})
        with pytest.raises(HedraAPIError) as caught:
            one.attempt(key=f"burns {burns}")
        assert caught.value.outcome_unknown is False
        assert (one.attempt(key=f"burns {burns}").n, one.paid) == (1, 1)


def test_the_record_of_another_task_names_its_job(task: Callable[..., Task]):
    """With ``state_path`` a job of another task is no candidate, so the search ends with a submit."""
    one = task()
    one.sandbox.faults(LOST)
    with pytest.raises(HedraError):
        one.attempt()
    one.sandbox.faults()
    other = one.attempt(key="another run", attempt_group="another run")
    one.sleep(40 * MINUTE)
    assert one.attempt().job_id != other.job_id
    assert one.paid == 2


def test_no_handle_and_no_secret_is_in_the_records(task: Callable[..., Task]):
    one = task()
    one.attempt()
    stored = "".join(file.read_text() for file in one.state.rglob("*") if file.is_file())
    secret = one.sandbox.api_key_v3.partition(":")[2]
    assert secret not in stored
    assert "http" not in stored
