"""Every fault of the sandbox at every call of the avatar flow, sync and, where that differs, deferred.

Each cell: the first try ends as ``matrix.py`` declares and ``docs/proof/faults.md`` says, nothing partial
stays, its error can be shown to anybody; once the fault is over the video comes, and it was paid for once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.testing import Sandbox
from tests.faults.cell import check_cell, require_one_whole_video, seen_calls
from tests.faults.clock import moved_clock
from tests.faults.matrix import CALLS, FAULTS, MODES, STATUS, V2, Outcome
from tests.faults.run import FIRST, SECONDS, Pipeline, connect
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


@pytest.mark.parametrize(("fault", "call", "mode"), list(V2.cells()))
def test_cell(
    sandbox: Sandbox, pipeline: Any, monkeypatch: pytest.MonkeyPatch, fault: str, call: str, mode: str
):
    check_cell(V2, sandbox, pipeline(mode, call), monkeypatch, fault, call)


@pytest.mark.parametrize("mode", MODES)
def test_the_calls_of_a_run_without_a_fault(sandbox: Sandbox, pipeline: Any, mode: str):
    """The matrix counts on these: a call that is not made can't go wrong."""
    made = pipeline(mode)
    assert made.attempt(FIRST).outcome is Outcome.PASSES
    ledger = sandbox.ledger()
    require_one_whole_video(made, ledger, None)
    assets = ["GET /assets", "POST /assets", "POST /assets/{id}/upload"]
    expected = ["GET /models", *assets, *assets, STATUS, "GET /billing/credits", "POST /generations"]
    assert seen_calls(ledger) == [*expected, STATUS, STATUS, "GET /generations", "GET /files/{id}"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_server_a_day_off(sandbox: Sandbox, pipeline: Any, mode: str, seconds: int):
    sandbox.advance(seconds)
    made = pipeline(mode)
    assert made.attempt(FIRST).outcome is Outcome.PASSES
    require_one_whole_video(made, sandbox.ledger(), None)


def test_retry_after_is_waited_for(sandbox: Sandbox, pipeline: Any, clock: Any):
    before = clock.offset
    sandbox.faults(*FAULTS["429-after"].sandbox_faults("models", CALLS))
    assert pipeline("sync").attempt(FIRST).outcome is Outcome.PASSES
    assert clock.offset - before >= 20 + SECONDS


def test_the_matrix_is_as_large_as_it_says():
    in_both = {(fault, call) for fault, call, mode in V2.cells() if mode == "deferred"}
    assert in_both <= {(fault, call) for fault, call, mode in V2.cells() if mode == "sync"}
    assert len({call for _, call in in_both}) >= 8
    everywhere = [fault for fault, about in FAULTS.items() if all(map(about.meets, CALLS))]
    assert len(everywhere) >= 12


def test_the_page_is_made_from_the_matrix():
    from tests.faults.table import TARGET, text

    assert TARGET.read_text() == text(), "run: python -m tests.faults.table --write"
