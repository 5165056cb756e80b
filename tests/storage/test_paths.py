"""What a path may name: regular files and folders, at places that do not depend on the worker."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from hedra_provider.api.errors import HedraValueError
from hedra_provider.operators import HedraDownloadOperator, HedraUploadAssetOperator
from hedra_provider.storage import PART_SUFFIX, check_destination, open_source, write_whole
from hedra_provider.storage.part_file import remove_abandoned
from hedra_provider.storage.paths import PACKAGE_OF_SCHEME
from tests.airflow_names import AirflowFailException
from tests.media import png
from tests.operators.helpers import avatar
from tests.tasks import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.testing import Sandbox


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "n")
    return folder / "n"


def unix_socket(folder: Path) -> Path:
    # A socket's path is short by law: bound by a relative one.
    with socket.socket(socket.AF_UNIX) as made:
        before = Path.cwd()
        os.chdir(folder)
        try:
            made.bind("n")
        finally:
            os.chdir(before)
    return folder / "n"


def device(folder: Path) -> Path:
    """Make a device like /dev/null, where this user may and it can be read: never the machine's own."""
    try:
        os.mknod(folder / "n", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.close(os.open(folder / "n", os.O_RDONLY))
    except OSError:
        pytest.skip("this user can't make devices here")
    return folder / "n"


def linked(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    def link(folder: Path) -> Path:
        (folder / "there").mkdir()
        (folder / "link").symlink_to(make(folder / "there"))
        return folder / "link"

    return link


def endless_link(folder: Path) -> Path:
    (folder / "n").symlink_to(folder / "n")
    return folder / "n"


SPECIAL = {
    "a pipe": (pipe, r"a named pipe \(FIFO\)"),
    "a socket": (unix_socket, "a socket"),
    "a device": (device, "a character device"),
    "a link to a pipe": (linked(pipe), r"a named pipe \(FIFO\)"),
    "a link to a device": (linked(device), "a character device"),
    "a link to itself": (endless_link, "symbolic links"),
}


@pytest.mark.parametrize("kind", list(SPECIAL))
@pytest.mark.parametrize("form", ["{}", "file://{}", "FILE://{}", "local://{}", "{}/"])
def test_what_is_no_file_is_never_replaced(
    hedra_sandbox: Sandbox, portrait: str, voice: str, tmp_path: Path, kind: str, form: str
):
    make, words = SPECIAL[kind]
    (tmp_path / "place").mkdir()
    path = make(tmp_path / "place")
    before = path.lstat()
    with pytest.raises(AirflowFailException, match=f"destination: .*{words}"):
        run(avatar(portrait, voice, destination=form.format(path)))
    assert hedra_sandbox.ledger()["requests"] == []
    assert (path.lstat().st_mode, path.lstat().st_ino) == (before.st_mode, before.st_ino)


@pytest.mark.parametrize("kind", list(SPECIAL))
@pytest.mark.parametrize("form", ["{}", "file://{}", "LOCAL://{}"])
def test_what_is_no_file_is_never_read(
    hedra_sandbox: Sandbox, voice: str, tmp_path: Path, kind: str, form: str
):
    """Without the check this test hangs: a pipe has no writer."""
    make, words = SPECIAL[kind]
    path = form.format(make(tmp_path))
    with pytest.raises(AirflowFailException, match=f"image: .*{words}"):
        run(avatar(path, voice))
    assert hedra_sandbox.requests("POST") == []


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_files_of_the_kernel_are_not_read(tmp_path: Path):
    """They have the mode of regular files. Some never end, others show the environment."""
    (tmp_path / "link").symlink_to("/proc/self/status")
    for source in ("/proc/self/status", str(tmp_path / "link"), "file:///proc/self/../self/status"):
        with pytest.raises(HedraValueError, match="a file of the kernel"):
            with open_source(source, "image"):
                pass


def test_a_file_that_becomes_a_pipe_while_it_is_opened_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = tmp_path / "a.png"
    source.write_bytes(png())
    really_open = os.open

    def swapped(path: Any, flags: int, *rest: Any) -> int:
        if Path(path) == source:
            source.unlink()
            os.mkfifo(source)
            monkeypatch.undo()
        return really_open(path, flags, *rest)

    monkeypatch.setattr("hedra_provider.storage.paths.os.open", swapped)
    with pytest.raises(HedraValueError, match="a named pipe"):
        with open_source(str(source), "image"):
            pass


@pytest.mark.parametrize("becomes", ["a pipe", "a link"])
def test_what_becomes_a_pipe_while_it_is_fetched_is_not_replaced(tmp_path: Path, becomes: str):
    target, other = tmp_path / "a.mp4", tmp_path / "other.mp4"

    def fill(file: Any) -> int:
        if becomes == "a pipe":
            os.mkfifo(target)
        else:
            target.symlink_to(other)
        return int(file.write(b"new"))

    with pytest.raises(OSError, match="named pipe" if becomes == "a pipe" else "became a link"):
        write_whole(str(target), fill)
    assert stat.S_ISFIFO(target.lstat().st_mode) == (becomes == "a pipe")
    assert not other.exists()
    assert list(tmp_path.iterdir()) == [target]


def test_a_pipe_of_the_name_of_an_abandoned_part_is_left_alone(tmp_path: Path):
    part = tmp_path / f".a.mp4.01234567{PART_SUFFIX}"
    os.mkfifo(part)
    remove_abandoned(tmp_path, ".a.mp4", PART_SUFFIX)
    assert part.exists()


def test_a_link_to_where_nothing_is_yet_is_written_through(tmp_path: Path):
    (tmp_path / "latest.mp4").symlink_to(tmp_path / "new" / "a.mp4")
    check_destination(str(tmp_path / "latest.mp4"))
    write_whole(str(tmp_path / "latest.mp4"), lambda file: file.write(b"new"))
    assert (tmp_path / "new" / "a.mp4").read_bytes() == b"new"


def test_a_path_that_holds_a_web_address_is_a_path(tmp_path: Path):
    destination = f"{tmp_path}/http://example.com/a?b=c.mp4"
    check_destination(destination)
    write_whole(destination, lambda file: file.write(b"new"))
    assert (tmp_path / "http:" / "example.com" / "a?b=c.mp4").read_bytes() == b"new"


def test_a_linked_folder_is_a_folder(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_destination(f"{tmp_path}/link/")
    check_destination(f"{tmp_path}/link/a.mp4")
    with pytest.raises(HedraValueError, match="end it with /"):
        check_destination(f"{tmp_path}/link")


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(HedraValueError, match="ends with / but is a file"):
        check_destination(f"{tmp_path}/a.mp4/")


@pytest.mark.parametrize(
    "relative", ["my video", "out/a.mp4", "./a.mp4", "out/", "a:b.mp4", "s3:/bucket/a.mp4"]
)
def test_a_relative_destination_is_rejected_before_anything_is_spent(
    hedra_sandbox: Sandbox,
    portrait: str,
    voice: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    relative: str,
):
    """It would go to the working directory of the worker, which the author does not choose."""
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    would_be = tmp_path / relative
    says = rf"relative to the worker's working directory, where it would be {would_be} on .*absolute path"
    with pytest.raises(AirflowFailException, match=says):
        run(avatar(portrait, voice, destination=relative))
    fetch = HedraDownloadOperator(
        task_id="d", generation_id="00000000-0000-4000-8000-000000000001", destination=relative
    )
    with pytest.raises(AirflowFailException, match=says):
        run(fetch)
    assert hedra_sandbox.ledger()["requests"] == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_home_that_is_not_known_is_a_bad_value():
    for use in (check_destination, lambda path: open_source(path, "image").__enter__()):
        with pytest.raises(HedraValueError, match="the home folder of its ~ is not known"):
            use("~nobody-of-that-name/a.mp4")


def test_a_source_that_is_not_there_names_worker_and_place(
    hedra_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    relative = f"; its path there is {tmp_path}/portrait.jpg"
    for source, more in (("portrait.jpg", relative), (f"{tmp_path}/none.png", "")):
        with pytest.raises(AirflowFailException) as raised:
            run(HedraUploadAssetOperator(task_id="u", source=source))
        said = f"can't be opened on this worker ({socket.gethostname()}): there is no such file{more}."
        assert said in str(raised.value)


def test_an_error_shows_whether_another_worker_may_succeed(tmp_path: Path):
    """So a retry on another worker is not ruled out."""
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    for destination, expected in (
        (f"{tmp_path}/file/a.mp4", True),
        (f"{tmp_path}/pipe", False),
        ("gs://bucket/a.mp4", True),
        ("nosuch://bucket/a.mp4", False),
        ("a", False),
    ):
        with pytest.raises(HedraValueError) as raised:
            check_destination(destination)
        assert raised.value.depends_on_worker is expected, destination
        assert (f"this worker ({socket.gethostname()})" in str(raised.value)) is (
            expected or destination == "a"
        )
    for source, expected in ((f"{tmp_path}/none", True), (f"{tmp_path}/pipe", False), (str(tmp_path), False)):
        with pytest.raises(HedraValueError) as raised:
            with open_source(source, "image"):
                pass
        assert raised.value.depends_on_worker is expected, source


NOT_INSTALLED = sorted(PACKAGE_OF_SCHEME.keys() - {"s3", "s3a", "s3n"})


@pytest.mark.parametrize("scheme", [*NOT_INSTALLED, "GS"])
def test_a_scheme_without_its_provider_names_the_package(
    hedra_sandbox: Sandbox, portrait: str, voice: str, scheme: str
):
    package = PACKAGE_OF_SCHEME[scheme.lower()]
    for arguments in ({"destination": f"{scheme}://bucket/a.mp4"}, {"image": f"{scheme}://bucket/a.png"}):
        with pytest.raises(AirflowFailException) as raised:
            run(avatar(**({"portrait": portrait, "voice": voice} | arguments)))
        assert f"Install {package} where the tasks run" in str(raised.value)
    assert hedra_sandbox.requests("POST") == []


def test_s3_without_its_driver_names_the_package(monkeypatch: pytest.MonkeyPatch):
    """The Amazon provider without its extra `s3fs`."""
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(HedraValueError, match=r"Install apache-airflow-providers-amazon\[s3fs\]"):
        check_destination("s3://a-bucket-of-this-test/a.mp4")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("https://example.com/face.png", "opens no web addresses: copy the file"),
        ("az://box/face.png", "Write abfs:// and install apache-airflow-providers-microsoft-azure"),
        ("hdfs://host/face.png", "No provider of Airflow's opens that scheme; known are s3, "),
        ("nosuch://host/face.png", "No provider of Airflow's opens that scheme; known are s3, "),
    ],
)
def test_a_scheme_that_airflow_does_not_know_says_what_to_do(uri: str, says: str):
    with pytest.raises(HedraValueError, match=says):
        check_destination(uri)
    with pytest.raises(HedraValueError, match=says):
        with open_source(uri, "image"):
            pass


def test_a_pipe_on_another_storage_is_not_read(monkeypatch: pytest.MonkeyPatch):
    """On SFTP, which is a file system."""
    storage = MemoryFileSystem()
    attach(protocol="memory", fs=storage)
    storage.pipe("/in/n", b"1")
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path, **_: {"name": path, "type": "other"})
    with pytest.raises(HedraValueError, match="neither a regular file nor a folder"):
        with open_source("memory:///in/n", "image"):
            pass
