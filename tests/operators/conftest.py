"""What the operators wrote to their log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.operators.helpers import Logged


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Logged:
    """What the tasks wrote to their log: Airflow 3.0 uses logging, later ones structlog, which prints."""
    caplog.set_level(logging.INFO)

    def text() -> str:
        out, err = capsys.readouterr()
        return caplog.text + out + err

    return text
