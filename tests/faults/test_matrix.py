"""Every fault of the sandbox at every call of the avatar flow, sync and, where that differs, deferred.

Each cell: the first try ends as ``matrix.py`` declares and ``docs/proof/faults.md`` says, nothing partial
stays, its error can be shown to anybody; once the fault is over the video comes, and it was paid for once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.api.errors import RETRYABLE_CODES, HedraError, remedy_for
from hedra_provider.exceptions import hedra_error
from hedra_provider.sandbox.studio import PLACEHOLDER
from hedra_provider.testing import Sandbox
from tests.faults.clock import moved_clock
from tests.faults.matrix import CALLS, FAULTS, MODES, STATUS, Fault, Outcome, cells
from tests.faults.run import AFTER_IT, FIRST, SECONDS, Pipeline, Try, connect, paid
from tests.media import png, wav


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(media=False, seconds=SECONDS) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "portrait.png").write_bytes(png())
    (folder / "voice.wav").write_bytes(wav(1.0))
    return str(folder / "portrait.png"), str(folder / "voice.wav")


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with moved_clock() as clock:
        yield clock


@pytest.fixture
def pipeline(
    sandbox: Sandbox, inputs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    sandbox.reset()
    connect(sandbox, monkeypatch, tiny_timeout=False)

    def make(mode: str, call: str = "upload") -> Pipeline:
        portrait, voice = inputs
        heard = voice if CALLS[call].of_the_recording else None
        return Pipeline(portrait, heard, tmp_path / "out" / "avatar.mp4", mode, chooses=call == "voices")

    return make


@pytest.mark.parametrize(("fault", "call", "mode"), list(cells()))
def test_cell(
    sandbox: Sandbox, pipeline: Any, monkeypatch: pytest.MonkeyPatch, fault: str, call: str, mode: str
):
    about, made = FAULTS[fault], pipeline(mode, call)
    connect(sandbox, monkeypatch, tiny_timeout=about.tiny_timeout)
    sandbox.faults(*about.sandbox_faults(call))

    first = made.attempt(FIRST)

    ledger = sandbox.ledger()
    assert first.outcome is about.outcome(call, mode), first.error
    assert met(ledger, call), "the fault did not happen"
    require_no_key_elsewhere(ledger)
    if first.error is not None:
        assert list(made.destination.parent.glob("*")) == []
        assert len(paid(ledger)) == (call not in UNPAID and was_taken(about, call))
        require_fit_to_show(first, sandbox, paid(ledger))
        sandbox.faults()
        connect(sandbox, monkeypatch, tiny_timeout=False)
        second = made.attempt(AFTER_IT[first.outcome])
        assert second.outcome is Outcome.PASSES, second.error
        ledger = sandbox.ledger()
    require_one_whole_video(made, ledger, about)


REMEDIES = {remedy_for(None, None, status) for status in range(400, 505)} | {
    remedy_for(None, code, None) for code in RETRYABLE_CODES
}
REMEDIES.add("A retry of the task that submitted it adopts it without paying again")
UNPAID = {name for name, call in CALLS.items() if call.before_the_submit}


def was_taken(fault: Fault, call: str) -> bool:
    """Whether the first try got its generation submitted."""
    return call != "submit" or fault.refunded or fault.json.get("when") == "after"


def met(ledger: dict[str, Any], call: str) -> bool:
    """Whether the call was made at all."""
    from hedra_provider.sandbox.faults import template

    method, path = CALLS[call].on.split()
    requests = [row for row in ledger["requests"] if (row["method"], template(row["path"])) == (method, path)]
    return len(requests) > CALLS[call].skip


def require_no_key_elsewhere(ledger: dict[str, Any]) -> None:
    assert not [row for row in ledger["requests"] if row["has_key"] and row["origin"] != "api"]


def require_fit_to_show(ended: Try, sandbox: Sandbox, submissions: list[dict[str, Any]]) -> None:
    """What, which generation, what to do; and no secret."""
    error, cause = str(ended.error), hedra_error(ended.error)
    assert isinstance(cause, HedraError)
    assert error.startswith(cause.message[:100])
    assert f"({type(cause).__name__}" in error
    assert ended.error
    assert ended.error.__suppress_context__
    assert not ended.error.__cause__
    remedies = (cause.remedy, *REMEDIES, "Airflow tries again")
    assert [remedy for remedy in remedies if remedy and remedy in error]
    for submission in submissions:
        assert submission["generation_id"] in error
    assert sandbox.api_key not in error
    assert "X-Amz-" not in error
    assert len(error) < 1500
    assert error.isprintable()


def require_one_whole_video(made: Pipeline, ledger: dict[str, Any], fault: Fault | None) -> None:
    assert [path.name for path in made.destination.parent.iterdir()] == [made.destination.name]
    content = made.destination.read_bytes()
    assert content.startswith(PLACEHOLDER)
    assert content.endswith(b")")
    refunded = 1 if fault and fault.refunded else 0
    submissions = paid(ledger)
    assert len(submissions) == 1 + refunded
    assert ledger["credits"]["used"] == submissions[-1]["credits"]


@pytest.mark.parametrize("mode", MODES)
def test_the_calls_of_a_run_without_a_fault(sandbox: Sandbox, pipeline: Any, mode: str):
    """The matrix counts on these: a call that is not made can't go wrong."""
    made = pipeline(mode)
    assert made.attempt(FIRST).outcome is Outcome.PASSES
    ledger = sandbox.ledger()
    require_one_whole_video(made, ledger, None)
    from hedra_provider.sandbox.faults import template

    seen = [f"{row['method']} {template(row['path'])}" for row in ledger["requests"]]
    assets = ["GET /assets", "POST /assets", "POST /assets/{id}/upload"]
    expected = ["GET /models", *assets, *assets, STATUS, "GET /billing/credits", "POST /generations"]
    assert seen == [*expected, STATUS, STATUS, "GET /generations", "GET /files/{id}"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_server_a_day_off(sandbox: Sandbox, pipeline: Any, mode: str, seconds: int):
    sandbox.advance(seconds)
    made = pipeline(mode)
    assert made.attempt(FIRST).outcome is Outcome.PASSES
    require_one_whole_video(made, sandbox.ledger(), None)


def test_retry_after_is_waited_for(sandbox: Sandbox, pipeline: Any, clock: Any):
    before = clock.offset
    sandbox.faults(*FAULTS["429-after"].sandbox_faults("models"))
    assert pipeline("sync").attempt(FIRST).outcome is Outcome.PASSES
    assert clock.offset - before >= 20 + SECONDS


def test_the_matrix_is_as_large_as_it_says():
    in_both = {(fault, call) for fault, call, mode in cells() if mode == "deferred"}
    assert in_both <= {(fault, call) for fault, call, mode in cells() if mode == "sync"}
    assert len({call for _, call in in_both}) >= 8
    everywhere = [fault for fault, about in FAULTS.items() if all(map(about.meets, CALLS))]
    assert len(everywhere) >= 12


def test_the_page_is_made_from_the_matrix():
    from tests.faults.table import TARGET, text

    assert TARGET.read_text() == text(), "run: python -m tests.faults.table --write"
