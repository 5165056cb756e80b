"""Part files: a result is whole or absent, with writers at the same time and with killed ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import fsspec
import pytest
from airflow.sdk.io import attach

from hedra_provider.storage import PART_SUFFIX, write_whole
from hedra_provider.storage.part_file import part_file

WRITER = """
import sys
from pathlib import Path
from hedra_provider.storage.part_file import part_file
with part_file(Path(sys.argv[1]), sys.argv[2], sys.argv[3]) as (path, file):
    file.write(b"half"); file.flush()
    print(path.name, flush=True)
    sys.stdin.read()
"""


def start_writer(folder: Path, stem: str, suffix: str = PART_SUFFIX) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that writes half a file, then waits for a signal."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), stem, suffix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    return process, folder / process.stdout.readline().strip()


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    with process:
        pass


def fill(content: bytes) -> Any:
    return lambda file: file.write(content)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_a_killed_worker_left_is_removed_by_the_next(tmp_path: Path):
    process, part = start_writer(tmp_path, ".clip.mp4")
    assert re.fullmatch(r"\.clip\.mp4\.[0-9a-f]{8}\.hedra\.part", part.name)
    kill(process)
    assert names(tmp_path) == {part.name}
    write_whole(str(tmp_path / "clip.mp4"), fill(b"whole"))
    assert names(tmp_path) == {"clip.mp4"}


def test_the_part_file_of_a_running_writer_is_kept(tmp_path: Path):
    process, part = start_writer(tmp_path, ".clip.mp4")
    try:
        write_whole(str(tmp_path / "clip.mp4"), fill(b"whole"))
        assert names(tmp_path) == {"clip.mp4", part.name}
        assert part.read_bytes() == b"half"
    finally:
        process.communicate("")
    assert names(tmp_path) == {"clip.mp4"}


def test_parts_of_others_are_left_alone(tmp_path: Path):
    others = {
        ".clip.mp4.part",
        ".clip.mp4.0123abcd.part",
        ".clip.mp4.xyz.hedra.part",
        ".clip.mp4.0123abcd.hedra.part.bak",
        ".other.mp4.0123abcd.hedra.part",
        "clip.mp4.0123abcd.hedra.part",
    }
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / ".clip.mp4.00000000.hedra.part").symlink_to(tmp_path / "elsewhere")
    write_whole(str(tmp_path / "clip.mp4"), fill(b"whole"))
    # This package makes no such link: it is not followed, and stays.
    assert names(tmp_path) == others | {"clip.mp4", "elsewhere", ".clip.mp4.00000000.hedra.part"}


def test_two_at_once_leave_one_of_two_whole_files(tmp_path: Path):
    meet = threading.Barrier(2, timeout=30)
    target = tmp_path / "clip.mp4"

    def slowly(sign: bytes) -> Any:
        def write(file: Any) -> int:
            for _ in range(50):
                file.write(sign * 1000)
                file.flush()
                if file.tell() == 25_000:
                    meet.wait()
            return 50_000

        return write

    writers = [
        threading.Thread(target=write_whole, args=(str(target), slowly(sign))) for sign in (b"a", b"b")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert target.read_bytes() in (b"a" * 50_000, b"b" * 50_000)
    assert names(tmp_path) == {"clip.mp4"}


def test_a_part_file_that_another_writer_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another writer removes the file before it is locked."""
    import hedra_provider.storage.part_file as parts

    real, taken = parts._hold, []

    def late(descriptor: int, path: Path) -> bool:
        if not taken:
            taken.append(path)
            path.unlink()
        return real(descriptor, path)

    monkeypatch.setattr(parts, "_hold", late)
    with part_file(tmp_path, ".a", ".part") as (path, file):
        file.write(b"1")
        assert path not in taken
        assert path.exists()


def test_without_locks_files_are_still_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    (tmp_path / ".a.mp4.0123abcd.hedra.part").write_bytes(b"who knows whose")
    write_whole(str(tmp_path / "a.mp4"), fill(b"whole"))
    assert names(tmp_path) == {"a.mp4", ".a.mp4.0123abcd.hedra.part"}


@pytest.mark.parametrize("name", ["🎬" * 60 + ".mp4", "ü" * 125 + ".mp4", "a" * 251 + ".mp4"])
def test_long_names(tmp_path: Path, name: str):
    assert len(os.fsencode(name)) <= 255
    write_whole(str(tmp_path / name), fill(b"whole"))
    assert names(tmp_path) == {name}


def test_what_is_gathered_for_object_storage_does_not_stay_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    storage = fsspec.filesystem("memory")
    storage.store.clear()
    attach(protocol="memory", fs=storage)
    seen: list[str] = []

    def fill_and_list(file: Any) -> int:
        seen.extend(names(tmp_path))
        return int(file.write(b"whole"))

    write_whole("memory:///out/clip.mp4", fill_and_list)
    (name,) = seen
    stem, suffix = re.fullmatch(r"(\.hedra-[0-9a-f]{16})\.[0-9a-f]{8}(\.mp4)", name).groups()  # type: ignore[union-attr]
    assert (tmp_path.stat().st_mode, names(tmp_path)) == (tmp_path.stat().st_mode, set())
    process, part = start_writer(tmp_path, stem, suffix)
    kill(process)
    assert names(tmp_path) == {part.name}
    write_whole("memory:///out/clip.mp4", fill(b"whole"))
    assert names(tmp_path) == set()
    assert storage.cat("/out/clip.mp4") == b"whole"
