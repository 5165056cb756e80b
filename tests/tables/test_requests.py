"""From rows to requests: files once, arguments of each clip, and what an earlier run has done already."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from hedra_provider.tables import avatar_requests, media_files, pending_requests
from tests.airflow_names import AirflowFailException

FACE, VOICE, ASSET = "/in/face.jpg", "s3://b/voice.wav", "0d8f1e34-0000-4000-8000-00000000abcd"


def row(name: str, **changes: Any) -> Any:
    usual = {
        "place": "line 2",
        "name": name,
        "text": "Hi",
        "voice_id": "v",
        "language": "auto",
        "audio": None,
    }
    return usual | {"image": FACE} | changes


ROWS = [row("a"), row("b", text=None, voice_id=None, audio=VOICE), row("c", image=ASSET)]


def test_each_file_is_uploaded_once_and_an_asset_is_not():
    assert media_files(ROWS) == [FACE, VOICE]


def test_a_request_has_the_arguments_of_the_operator():
    uploads = [{"asset_id": "face"}, {"asset_id": "voice"}]
    first, second, third = avatar_requests(ROWS, [FACE, VOICE], uploads, {"resolution": "540p"})
    assert first == {
        "name": "a",
        "text": "Hi",
        "voice_id": "v",
        "language": "auto",
        "audio": None,
        "image": "face",
        "resolution": "540p",
    }
    assert (second["text"], second["audio"], second["image"]) == (None, "voice", "face")
    assert third["image"] == ASSET


def test_without_files_there_are_no_uploads():
    (request,) = avatar_requests([row("c", image=ASSET)], [], None, {})
    assert request["image"] == ASSET


def test_an_upload_that_is_missing_is_not_passed_over():
    with pytest.raises(ValueError, match="zip"):
        avatar_requests(ROWS, [FACE, VOICE], [{"asset_id": "face"}], {})


def test_finished_clips_of_the_last_manifest_are_not_in_the_budget(tmp_path: Path):
    done, failed, new = ({"name": name} for name in ("done", "failed", "new"))
    clips = [{"request": done, "status": "done"}, {"request": failed, "status": "failed"}]
    (tmp_path / "manifest.json").write_text(json.dumps({"clips": clips}))
    assert pending_requests([done, failed, new], f"{tmp_path}/") == [failed, new]
    assert pending_requests([{"name": "done", "text": "edited"}], str(tmp_path)) != []


def test_without_a_manifest_the_budget_counts_all_rows_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO):
        assert pending_requests([{"name": "new"}], str(tmp_path / "new")) == [{"name": "new"}]
    assert "There is no manifest of an earlier run at " in caplog.text
    assert "Error" not in caplog.text


@pytest.mark.parametrize("content", ["of another run", "[]", '{"clips": 7}', '{"clips": [7]}', "\x00", "{}"])
def test_a_file_that_is_no_manifest_is_warned_of(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "manifest.json").write_text(content)
    assert pending_requests([{"name": "new"}], str(tmp_path)) == [{"name": "new"}]
    assert "is not a manifest of this DAG" in caplog.text


def test_a_destination_that_can_not_be_written_to_fails_before_anything_is_spent(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(AirflowFailException, match="can't be written to"):
        pending_requests([{"name": "new"}], str(tmp_path / "file"))
