"""The fault matrix with a v3 key, as ``test_matrix.py`` has it with a v2 key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.testing import Sandbox
from tests.faults.cell import check_cell, require_one_whole_video, seen_calls
from tests.faults.clock import moved_clock
from tests.faults.matrix import MODES, Outcome
from tests.faults.matrix_v3 import JOB, STATUS, V3
from tests.faults.run import FIRST, SECONDS, Pipeline, connect
from tests.media import png, wav


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    # Without a rate limit: the pause after a 429 does not depend on how far its window is.
    with Sandbox(api=3, media=False, seconds=SECONDS, requests_per_window=0) as sandbox:
        yield sandbox


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    with moved_clock() as clock:
        yield clock


@pytest.fixture
def pipeline(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    sandbox.reset()
    connect(sandbox, monkeypatch, tiny_timeout=False)
    portrait, voice = tmp_path / "portrait.png", tmp_path / "voice.wav"
    portrait.write_bytes(png())
    voice.write_bytes(wav(1.0))

    def make(mode: str) -> Pipeline:
        return Pipeline(str(portrait), str(voice), tmp_path / "out" / "avatar.mp4", mode, api=3)

    return make


@pytest.mark.parametrize(("fault", "call", "mode"), list(V3.cells()))
def test_cell(
    sandbox: Sandbox, pipeline: Any, monkeypatch: pytest.MonkeyPatch, fault: str, call: str, mode: str
):
    check_cell(V3, sandbox, pipeline(mode), monkeypatch, fault, call)


@pytest.mark.parametrize("mode", MODES)
def test_the_calls_of_a_run_without_a_fault(sandbox: Sandbox, pipeline: Any, mode: str):
    """The matrix counts on these: a call that is not made can't go wrong."""
    made = pipeline(mode)
    assert made.attempt(FIRST).outcome is Outcome.PASSES
    ledger = sandbox.ledger()
    require_one_whole_video(made, ledger, None)
    before = ["GET /v3/models/{model}", "POST /v3/files", "POST /v3/files"]
    assert seen_calls(ledger) == [
        *before, "POST /v3/models/{model}", STATUS, STATUS, JOB, JOB, "GET /files/{id}",
    ]  # fmt: skip
