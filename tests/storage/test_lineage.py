"""A task reports its files to Airflow's hook lineage, each once; a failing collector fails no task."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.providers.common.compat.sdk import HookLineageCollector
from airflow.sdk.io import attach

from hedra_provider.api.client import HedraClient
from hedra_provider.operators import (
    HedraAvatarVideoOperator,
    HedraDownloadOperator,
    HedraGenerateOperator,
    HedraUploadAssetOperator,
)
from hedra_provider.storage.lineage import lineage_uri
from tests.airflow_names import AirflowException, TaskDeferred
from tests.media import png, wav
from tests.tasks import TaskInstance, context_of, fire, run

if TYPE_CHECKING:
    from pathlib import Path

    from hedra_provider.testing import Sandbox


def use(monkeypatch: pytest.MonkeyPatch, collector: Any) -> None:
    """Make Airflow, its ObjectStoragePath included, return this collector."""
    # Its place moved with Airflow 3.2.
    place = sys.modules[HookLineageCollector.__module__]
    monkeypatch.setattr(place, "get_hook_lineage_collector", lambda: collector)


class Lineage:
    """The files that were reported since the last call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.begin()

    def begin(self) -> None:
        """Forget all reports, as in the process of another task."""
        self.collector = HookLineageCollector()
        use(self.patch, self.collector)

    @property
    def reported(self) -> tuple[list[str], list[str]]:
        found = self.collector.collected_assets
        assert [one.count for one in (*found.inputs, *found.outputs) if one.count != 1] == []
        return sorted(one.asset.uri for one in found.inputs), sorted(one.asset.uri for one in found.outputs)


@pytest.fixture
def lineage(monkeypatch: pytest.MonkeyPatch) -> Lineage:
    return Lineage(monkeypatch)


@pytest.fixture
def storage() -> Any:
    """An object storage with a portrait and a voice."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    for conn_id in (None, "keys"):
        attach(protocol="memory", conn_id=conn_id, fs=files)
    files.pipe("/shop/face.png", png())
    files.pipe("/shop/voice.wav", wav(1.0))
    return files


def avatar(**changes: Any) -> HedraAvatarVideoOperator:
    return HedraAvatarVideoOperator(
        task_id="avatar", **({"resolution": "540p", "poll_interval": 0.05} | changes)
    )


def test_local_files(hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str, tmp_path: Path):
    folder = tmp_path.resolve()
    made = run(avatar(image=portrait, audio=f"file://{voice}", destination=f"{tmp_path}/out/"))
    inputs = [f"file://{folder}/portrait.png", f"file://{folder}/voice.wav"]
    assert lineage.reported == (inputs, [f"file://{folder}/out/{made['generation_id']}.mp4"])


def test_object_storage_without_its_connection(hedra_sandbox: Sandbox, lineage: Lineage, storage: Any):
    made = run(
        avatar(
            image="memory://keys@shop/face.png",
            audio="memory://keys@shop/voice.wav",
            destination="memory://keys@shop/clip.mp4",
        )
    )
    assert made["uri"] == "memory://keys@shop/clip.mp4"
    inputs = ["memory://shop/face.png", "memory://shop/voice.wav"]
    assert lineage.reported == (inputs, ["memory://shop/clip.mp4"])


def test_assets_at_hedra_are_not_reported(
    hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str
):
    audio = run(HedraUploadAssetOperator(task_id="u", source=voice))
    lineage.begin()
    uploaded = run(HedraUploadAssetOperator(task_id="u", source=portrait))
    assert lineage.reported == ([f"file://{portrait}"], [])
    lineage.begin()
    assert run(HedraUploadAssetOperator(task_id="u", source=portrait))["reused"]
    assert lineage.reported == ([f"file://{portrait}"], [])
    lineage.begin()
    run(avatar(image=uploaded["asset_id"], audio=audio["asset_id"]))
    assert lineage.reported == ([], [])


def test_a_download(hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str, tmp_path: Path):
    made = run(avatar(image=portrait, audio=voice))
    lineage.begin()
    to = tmp_path.resolve() / "clip.mp4"
    run(HedraDownloadOperator(task_id="d", generation_id=made["generation_id"], destination=str(to)))
    assert lineage.reported == ([], [f"file://{to}"])


def test_any_request_that_is_stored(hedra_sandbox: Sandbox, lineage: Lineage, tmp_path: Path):
    from hedra_provider.api import calls
    from hedra_provider.hooks import HedraHook

    with HedraHook().get_conn() as client:
        speaker = client.run(calls.list_voices())[0].id
    request = {"type": "text_to_speech", "text": "Hello", "voice_id": speaker}
    to = tmp_path.resolve() / "hello.mp3"
    run(HedraGenerateOperator(task_id="g", request=request, destination=str(to), poll_interval=0.05))
    assert lineage.reported == ([], [f"file://{to}"])


def test_the_process_after_a_wait_reports_the_inputs_too(
    hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str, tmp_path: Path
):
    """Airflow reads lineage in the process in which the task ends, where no file was opened."""
    operator = avatar(image=portrait, audio=voice, destination=str(tmp_path / "a.mp4"), deferrable=True)
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(ti))
    event = fire(deferred.value.trigger)
    lineage.begin()
    operator.execute_complete(context_of(ti), event=event)
    folder = tmp_path.resolve()
    assert lineage.reported == (
        [f"file://{folder}/portrait.png", f"file://{folder}/voice.wav"],
        [f"file://{folder}/a.mp4"],
    )


def test_the_process_after_a_retry_slot_reports_the_inputs_too(
    hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(HedraClient, "pause", lambda self, seconds: None)
    hedra_sandbox.faults({"on": "POST /generations", "times": None, "status": 429})
    operator = avatar(image=portrait, audio=voice, deferrable=True, wait_for_completion=False)
    ti = TaskInstance()
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute(context_of(ti))
    assert deferred.value.method_name == "execute_turn"
    hedra_sandbox.faults()
    trigger = deferred.value.trigger
    trigger.resume_at = 0.0
    event = fire(trigger)
    lineage.begin()
    operator.execute_turn(context_of(ti), event=event)
    assert lineage.reported == ([f"file://{portrait}", f"file://{voice}"], [])


class Broken:
    """A collector that raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no lineage today")


@pytest.mark.parametrize("how", ["broken", "missing"])
def test_a_collector_that_fails_or_is_missing_fails_no_task(
    hedra_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    storage: Any,
    portrait: str,
    tmp_path: Path,
    how: str,
):
    if how == "broken":
        use(monkeypatch, Broken())
    else:
        monkeypatch.setitem(sys.modules, "airflow.providers.common.compat.lineage.hook", None)
    made = run(avatar(image=portrait, audio="memory://shop/voice.wav", destination=str(tmp_path / "a.mp4")))
    assert made["bytes"] > 0


def test_a_file_that_was_not_stored_is_not_reported(
    hedra_sandbox: Sandbox, lineage: Lineage, portrait: str, voice: str, tmp_path: Path, no_pauses: None
):
    hedra_sandbox.faults({"on": "GET /files/{id}", "times": None, "status": 404})
    with pytest.raises(AirflowException):
        run(avatar(image=portrait, audio=voice, destination=str(tmp_path / "a.mp4")))
    assert lineage.reported[1] == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("s3://conn@shop/in/a b.png", "s3://shop/in/a b.png"),
        ("s3://user:password@shop/a@b.png", "s3://shop/a@b.png"),
        ("s3://shop/50% #1?.png", "s3://shop/50% %231%3F.png"),
        ("s3://shop/grün.png", "s3://shop/gr%C3%BCn.png"),
        ("https://files.example/a.png?X-Amz-Signature=abc#x", "https://files.example/a.png"),
        ("/data/a#1.png", "file:///data/a%231.png"),
        ("file:///data/./b/../a.png", "file:///data/a.png"),
        ("file://localhost/data/a.png", "file:///data/a.png"),
    ],
)
def test_how_a_file_is_called(lineage: Lineage, given: str, expected: str):
    assert lineage_uri(given) == expected
    lineage.collector.add_input_asset(context=given, uri=lineage_uri(given))
    assert lineage.reported == ([expected], [])


def test_a_link_is_called_by_what_it_points_to(tmp_path: Path):
    (tmp_path / "latest.png").symlink_to(tmp_path / "real.png")
    assert lineage_uri(str(tmp_path / "latest.png")) == f"file://{tmp_path.resolve()}/real.png"
