"""The example DAGs by ``dag.test()`` with a v3 key: the same files as with a v2 key."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import av
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hedra_provider.testing import Sandbox

    RunDag = Callable[..., Any]

pytestmark = pytest.mark.hedra_sandbox(api="3")


def states(run: Any) -> dict[str, str]:
    return {f"{ti.task_id}[{ti.map_index}]": str(ti.state) for ti in run.get_task_instances()}


def seconds(path: Path) -> float:
    with av.open(str(path)) as video:
        assert {stream.codec_context.name for stream in video.streams} >= {"h264", "aac"}
        return video.duration / 1e6


def models_paid(sandbox: Sandbox) -> list[str]:
    assert all(row["usd"] > 0 for row in sandbox.submissions_v3)
    return [row["model"] for row in sandbox.submissions_v3]


def test_step_by_step(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    target = tmp_path / "avatar.mp4"
    run = run_dag("hedra_avatar_video.py", "hedra_avatar_video", destination=str(target))
    assert run.state == "success", states(run)
    assert abs(seconds(target) - 6.7) < 0.1
    assert models_paid(hedra_sandbox) == ["hedra-avatar"]
    # One upload for each file, by the task that submits.
    assert [row["status"] for row in hedra_sandbox.requests("POST", "/v3/files")] == [201, 201]


def test_from_a_text(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    target = tmp_path / "avatar.mp4"
    run = run_dag("hedra_avatar_from_text.py", "hedra_avatar_from_text", destination=str(target))
    assert run.state == "success", states(run)
    assert seconds(target) > 1
    assert models_paid(hedra_sandbox) == ["elevenlabs-v3", "hedra-avatar"]
    speech, _ = hedra_sandbox.submissions_v3
    assert "Good morning" in json.dumps(speech["body"])


def test_omnia_fails_by_name_before_any_request(
    hedra_sandbox: Sandbox, run_dag: RunDag, capfd: pytest.CaptureFixture[str]
):
    run = run_dag("hedra_omnia_motion.py", "hedra_omnia_motion")
    assert states(run) == {"find_omnia[-1]": "failed", "motion[-1]": "upstream_failed"}
    assert hedra_sandbox.ledger()["requests"] == []
    assert "has no Omnia. Use a connection with a v2 key" in "".join(capfd.readouterr())


def test_clips_from_a_table(hedra_sandbox: Sandbox, run_dag: RunDag, tmp_path: Path):
    folder = tmp_path / "clips"
    run = run_dag("hedra_clips_from_table.py", "hedra_clips_from_table", destination=str(folder))
    assert run.state == "success", states(run)
    names = {"welcome-en", "welcome-de", "welcome-es", "recorded"}
    assert {path.stem for path in folder.glob("*.mp4")} == names
    # Three texts are spoken, each by a job of its own.
    assert sorted(models_paid(hedra_sandbox)) == ["elevenlabs-v3"] * 3 + ["hedra-avatar"] * 4
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert (manifest["done"], manifest["failed"]) == (4, 0)
    assert manifest["currency"] == "USD"
    charged = sum(Decimal(str(row["usd"])) for row in hedra_sandbox.submissions_v3)
    assert Decimal(str(manifest["cost_paid"])) == charged > 0
    assert 0 < manifest["budget"]["low"] <= manifest["budget"]["high"]
    again = run_dag("hedra_clips_from_table.py", "hedra_clips_from_table", destination=str(folder))
    assert again.state == "success", states(again)
    paid = [row for row in hedra_sandbox.submissions_v3 if row["usd"] > 0]
    assert len(paid) == len(names) + 3
