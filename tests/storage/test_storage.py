"""Files of the user's: read and written whole, on disk and on object storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from airflow.sdk.io import attach

from hedra_provider.api.errors import HedraValueError
from hedra_provider.operators import HedraAvatarVideoOperator, HedraDownloadOperator
from hedra_provider.storage import check_destination, named_destination, open_source, write_whole
from tests.airflow_names import AirflowException
from tests.media import png, wav
from tests.tasks import run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

UUID = "33333333-3333-4333-8333-333333333333"


def fill(content: bytes) -> Any:
    return lambda file: file.write(content)


@pytest.fixture
def memory() -> Any:
    """An object storage."""
    storage = fsspec.filesystem("memory")
    storage.store.clear()
    attach(protocol="memory", fs=storage)
    return storage


def test_a_whole_pipeline_on_object_storage(hedra_sandbox: Sandbox, memory: Any):
    memory.pipe("/in/face.png", png())
    memory.pipe("/in/voice.wav", wav(1.0))
    made = run(
        HedraAvatarVideoOperator(
            task_id="avatar",
            image="memory:///in/face.png",
            audio="memory:///in/voice.wav",
            destination="memory:///out/clip.mp4",
            resolution="540p",
        )
    )
    content = memory.cat("/out/clip.mp4")
    assert content[4:8] == b"ftyp"
    assert len(content) == made["bytes"]
    again = run(
        HedraDownloadOperator(task_id="d", generation_id=made["generation_id"], destination="memory:///out/")
    )
    assert memory.cat(f"/out/{made['generation_id']}.mp4") == content
    assert again["uri"].endswith(f"/{made['generation_id']}.mp4")


def test_nothing_partial_reaches_object_storage(memory: Any):
    def broken(file: Any) -> int:
        file.write(b"half")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        write_whole("memory:///out/a.mp4", broken)
    assert not memory.exists("/out/a.mp4")


@pytest.mark.parametrize(
    "uri", ["{folder}/a b#c?.mp4", "file://{folder}/x/y.mp4", "file://localhost{folder}/z.mp4"]
)
def test_local_files(tmp_path: Path, uri: str):
    destination = uri.format(folder=tmp_path)
    check_destination(destination)
    written, size = write_whole(destination, fill(b"12345"))
    assert size == 5
    with open_source(written, "source") as (file, name):
        assert file.read() == b"12345"
    assert name == Path(destination).name


def test_home_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    check_destination("~/d.mp4")
    write_whole("~/d.mp4", fill(b"1"))
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.mp4")] == [Path("home/d.mp4")]


def test_what_was_there_stays_until_the_new_one_is_whole(tmp_path: Path):
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")

    def broken(file: Any) -> int:
        file.write(b"half")
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        write_whole(str(target), broken)
    assert target.read_bytes() == b"old"
    write_whole(str(target), fill(b"new"))
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "real.mp4").write_bytes(b"old")
    (tmp_path / "latest.mp4").symlink_to(tmp_path / "real.mp4")
    write_whole(str(tmp_path / "latest.mp4"), fill(b"new"))
    assert (tmp_path / "latest.mp4").is_symlink()
    assert (tmp_path / "real.mp4").read_bytes() == b"new"


def test_a_new_file_has_the_usual_permissions(tmp_path: Path):
    (tmp_path / "usual").touch()
    write_whole(str(tmp_path / "a.mp4"), fill(b"1"))
    assert (tmp_path / "a.mp4").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("destination", ["file:a.mp4", "nosuch://a/b", "{folder}"])
def test_what_cannot_be_a_destination(tmp_path: Path, destination: str):
    with pytest.raises(HedraValueError, match="can't be written to"):
        check_destination(destination.format(folder=tmp_path))


@pytest.mark.parametrize(
    "source", ["{folder}", "{folder}/none.wav", "a" * 5000, "a\0b", "nosuch://a/b", "file:a"]
)
def test_what_can_not_be_opened_is_no_use_to_try_again(tmp_path: Path, source: str):
    with pytest.raises(HedraValueError, match=r"^audio: .* can't be opened") as raised:
        with open_source(source.format(folder=tmp_path), "audio"):
            pass
    assert raised.value.param == "audio"


def test_a_name_from_the_api_chooses_no_path():
    assert named_destination("/a/", UUID, "video") == f"/a/{UUID}.mp4"
    assert named_destination("/a/", UUID, "audio") == f"/a/{UUID}.mp3"
    with pytest.raises(HedraValueError, match="not a UUID"):
        named_destination("/a/", "../../etc/passwd", "video")


def test_a_full_disk_leaves_the_result_at_hedra(
    hedra_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.wav").write_bytes(wav(1.0))
    inputs = {"image": str(tmp_path / "a.png"), "audio": str(tmp_path / "a.wav"), "resolution": "540p"}
    made = run(HedraAvatarVideoOperator(task_id="a", **inputs))

    def full(file: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    operator = HedraDownloadOperator(
        task_id="d", generation_id=made["generation_id"], destination=str(tmp_path / "out" / "a.mp4")
    )
    with pytest.raises(AirflowException, match=r"No space left.*without paying again"):
        run(operator)
    assert list((tmp_path / "out").iterdir()) == []
