"""The upload and download operators with a v3 key, whose uploads live for one hour and have no id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.operators import (
    HedraCreditsCheckOperator,
    HedraDownloadOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.tables import avatar_requests
from tests.airflow_names import AirflowFailException
from tests.media import wav
from tests.operators.helpers import avatar
from tests.tasks import TaskInstance, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

pytestmark = pytest.mark.hedra_sandbox(api="3", media=False)


def passed_on(source: str) -> Any:
    return run(HedraUploadAssetOperator(task_id="upload", source=source))


def test_an_upload_checks_the_file_and_passes_it_on(hedra_sandbox: Sandbox, voice: str):
    assert passed_on(voice) == {
        "asset_id": None,
        "source": voice,
        "type": "audio",
        "name": "voice.wav",
        "bytes": len(wav(1.0)),
        "duration_ms": 1000,
        "reused": False,
    }
    assert hedra_sandbox.ledger()["requests"] == []


def test_a_wrong_file_fails_in_the_upload(hedra_sandbox: Sandbox, tmp_path: Path):
    (tmp_path / "face.png").write_bytes(b"<html>")
    with pytest.raises(AirflowFailException, match=r"source: '.*face\.png' is text"):
        passed_on(str(tmp_path / "face.png"))


def test_the_submit_uploads_what_was_passed_on(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    image, audio = passed_on(portrait), passed_on(voice)
    made = run(avatar(image, audio))
    assert len(hedra_sandbox.requests("POST", "/v3/files")) == len([image, audio])
    assert [row["job_id"] for row in hedra_sandbox.submissions_v3] == [made["generation_id"]]
    # The same files by their paths are the same request.
    retry = run(avatar(portrait, voice), TaskInstance(try_number=2))
    assert (retry["generation_id"], retry["adopted"]) == (made["generation_id"], True)


@pytest.mark.parametrize("name", ["image", "audio"])
def test_an_asset_id_that_is_not_there_is_an_error_with_the_way_out(
    hedra_sandbox: Sandbox, portrait: str, voice: str, name: str
):
    # What output["asset_id"] of the upload is.
    with pytest.raises(AirflowFailException, match=r"an upload has no asset id: pass its whole output"):
        run(avatar(portrait, voice, **{name: None}))
    assert hedra_sandbox.ledger()["requests"] == []


def test_the_clips_of_a_table_get_the_files_themselves(hedra_sandbox: Sandbox, portrait: str):
    row: Any = {"place": "line 2", "name": "a", "text": "Hi", "voice_id": "v", "language": "auto"}
    row |= {"audio": None, "image": portrait}
    (request,) = avatar_requests([row], [portrait], [passed_on(portrait)], {})
    assert request["image"]["source"] == portrait


def test_a_budget_uses_the_length_that_the_upload_measured(hedra_sandbox: Sandbox, voice: str):
    row = {"audio": passed_on(voice), "resolution": "540p", "duration_ms": None}
    check = run(HedraCreditsCheckOperator(task_id="c", requests=[row]))
    # 1 s at 2.5 cents.
    assert check["high"] == 0.025


def test_a_download_takes_the_id_of_a_job(hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path):
    made = run(avatar(portrait, voice))
    fetch = HedraDownloadOperator(task_id="d", generation_id=made, destination=f"{tmp_path}/out/")
    stored = run(fetch)
    assert stored["uri"] == (tmp_path / "out" / f"{made['generation_id']}.mp4").as_uri()
    assert (tmp_path / "out" / f"{made['generation_id']}.mp4").stat().st_size == stored["bytes"] > 0


def test_a_download_of_an_asset_names_the_other_argument(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path
):
    asset_id = run(avatar(portrait, voice))["asset_id"]
    assert asset_id.startswith("asset_")
    fetch = HedraDownloadOperator(
        task_id="d", asset_id=asset_id, asset_type="video", destination=f"{tmp_path}/out/"
    )
    with pytest.raises(AirflowFailException, match="generation_id"):
        run(fetch)


def test_the_hook_uploads_nothing_that_could_not_be_used(hedra_sandbox: Sandbox, voice: str):
    with pytest.raises(ValueError, match="HedraAvatarVideoOperator"):
        HedraHook().upload(voice)
    assert hedra_sandbox.ledger()["requests"] == []
