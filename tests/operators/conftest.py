"""Inputs for the operators, and what they told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.media import png, wav

if TYPE_CHECKING:
    from pathlib import Path

    from tests.operators.helpers import Told


@pytest.fixture
def portrait(tmp_path: Path) -> str:
    path = tmp_path / "portrait.png"
    path.write_bytes(png())
    return str(path)


@pytest.fixture
def voice(tmp_path: Path) -> str:
    path = tmp_path / "voice.wav"
    path.write_bytes(wav(1.0))
    return str(path)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Told:
    """What the tasks wrote to their log: Airflow 3.0 uses logging, later ones structlog, which prints."""
    caplog.set_level(logging.INFO)

    def text() -> str:
        out, err = capsys.readouterr()
        return caplog.text + out + err

    return text
