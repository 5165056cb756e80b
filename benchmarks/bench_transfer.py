"""How fast do files go up and down, and how much memory does that take?

    python benchmarks/bench_transfer.py [--mib 2048]

A file goes to Hedra as a video (one PUT to a signed URL) and as an audio (one multipart POST) and comes back:
by ``HedraUploadAssetOperator`` and ``HedraDownloadOperator`` with local paths, and by curl, if it is there,
over the same HTTP to the same server. The server is the sandbox with ``--no-media``, in a process of its own,
on loopback: the figures compare clients, they do not tell how fast Hedra is.

An operator's time is that of its ``execute``, which does more than curl: before an upload it reads the whole
file once for its SHA-256 (so that the same bytes are never uploaded twice) and asks whether they are there
already; after a download it waits until the disk has them. curl is only timed for the transfer, its URLs were
made before. Before each transfer the disk has finished what the one before left to write.

Memory is resident memory, sampled every 5 ms from outside. Each transfer by an operator has a process of its
own; "above idle" is the peak above what that process held just before ``execute``, everything imported.

What arrived is compared with the source by its SHA-256, for uploads too. Nothing is left behind.
Prints a table, writes ``benchmarks/results/transfer.json``; ends with 1 when an operator took more than
32 MiB, or was slower than 0.75 of curl. A content that differs is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.report import publish, text_table
from scripts.airflow_home import DAGS, ROOT, SandboxAddress, environment, sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hedra_provider.api.client import HedraClient

MIB = 1024 * 1024
TARGET_MIB = 32.0
"""Memory above idle that an operator may take for a transfer of whatever size."""

TARGET_OF_CURL = 0.75
"""Share of curl's throughput that an operator is to reach."""

SAMPLE_SECONDS = 0.005
TIMEOUT_SECONDS = 900.0
ASSET_TYPES = ("video", "audio")
WAYS = {"video": "PUT", "audio": "multipart"}


@dataclass(frozen=True)
class Transfer:
    """
    One transfer: what, by whom, and what it took.

    :param what: ``upload`` or ``download``.
    :param client: ``hedra_provider`` or ``curl``.
    :param sha256: Of the file that arrived, in hex.
    :param peak_mib: Resident memory of the client process at its highest.
    :param above_idle_mib: How much of that the transfer added; None for curl, which never idles.
    """

    what: str
    asset_type: str
    client: str
    bytes: int
    seconds: float
    sha256: str
    peak_mib: float
    above_idle_mib: float | None

    @property
    def mib_per_second(self) -> float:
        """Throughput."""
        return self.bytes / MIB / self.seconds


def measure(
    mib: int, *, asset_types: Sequence[str] = ASSET_TYPES, curl: str | None = None
) -> tuple[str, list[Transfer]]:
    """
    Send a file up and down.

    :param mib: Its size in MiB.
    :param asset_types: As what: ``video`` goes up by PUT, ``audio`` by multipart.
    :param curl: Path of curl, to measure it too.
    :return: The SHA-256 of the file, and the transfers.
    :raises RuntimeError: If the disk is too small, or a transfer failed or took too long.
    """
    from hedra_provider.api.client import HedraClient

    with tempfile.TemporaryDirectory(prefix="hedra-bench-") as name:
        folder = Path(name)
        # The source, the sandbox's copy and what is arriving, and one to spare.
        needed, free = 4 * mib * MIB, shutil.disk_usage(folder).free
        if free < needed:
            raise RuntimeError(f"{folder} has {free // MIB} MiB free; {needed // MIB} MiB are needed.")
        source = folder / "source.bin"
        sha256 = make_file(source, mib)
        with (
            sandbox("--no-media", "--max-bytes", str(needed)) as address,
            HedraClient(address.api_key, base_url=address.base_url) as api,
        ):
            bench = _Bench(folder, source, address, api)
            transfers: list[Transfer] = []
            for asset_type in asset_types:
                transfers += bench.by_operators(asset_type)
                if curl:
                    transfers += bench.by_curl(curl, asset_type)
    return sha256, transfers


def make_file(path: Path, mib: int) -> str:
    """Write so many MiB, no two of them alike and none that compresses; return their SHA-256 in hex."""
    seen, block = hashlib.sha256(), bytearray(os.urandom(MIB))
    with path.open("wb") as file:
        for number in range(mib):
            block[:8] = number.to_bytes(8)
            file.write(block)
            seen.update(block)
    return seen.hexdigest()


def execute(plan: Mapping[str, str]) -> int:
    """
    Be the client process: say when ready, run one operator when told to, say what it took.

    :param plan: ``what``, ``asset_type``, and ``source`` or ``asset_id`` and ``destination``.
    """
    # What the work imports: idle is measured with it.
    from airflow.sdk import ObjectStoragePath  # noqa: F401

    import hedra_provider.api.client
    import hedra_provider.api.transfer  # noqa: F401
    from hedra_provider.operators import HedraDownloadOperator, HedraUploadAssetOperator

    operator: HedraDownloadOperator | HedraUploadAssetOperator
    if plan["what"] == "upload":
        operator = HedraUploadAssetOperator(
            task_id="transfer", source=plan["source"], asset_type=plan["asset_type"]
        )
    else:
        operator = HedraDownloadOperator(
            task_id="transfer",
            asset_id=plan["asset_id"],
            asset_type=plan["asset_type"],
            destination=plan["destination"],
        )
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    task_instance = SimpleNamespace(xcom_push=lambda **_: None)
    result = operator.execute({"ti": task_instance})
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "result": result}), flush=True)
    # The last sample is of a process that still lives.
    sys.stdin.readline()
    return 0


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=2048, help="size of the file (default: %(default)s)")
    parser.add_argument("--client", metavar="PLAN", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        return execute(json.loads(given.client))
    # So that the files are deleted and the sandbox is stopped then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mib = max(1, min(given.mib, 16 * 1024))
    curl = shutil.which("curl")
    sha256, transfers = measure(mib, curl=curl)
    peak = max(transfer.above_idle_mib or 0.0 for transfer in transfers)
    shares = shares_of_curl(transfers)
    results = {
        "mib": mib,
        "sha256": sha256,
        "target_above_idle_mib": TARGET_MIB,
        "target_of_curl": TARGET_OF_CURL,
        "of_curl": shares,
        "peak_above_idle_mib": peak,
        "curl_installed": curl is not None,
        "transfers": [
            {**asdict(transfer), "mib_per_second": round(transfer.mib_per_second, 1)}
            for transfer in transfers
        ],
    }
    head = ["transfer", "client", "seconds", "MiB/s", "of curl", "above idle MiB", "peak MiB", "content"]
    table = text_table(head, [_row(transfer, sha256, shares) for transfer in transfers])
    publish("transfer", f"{mib} MiB up and down, loopback, against the sandbox", table, results)
    if not curl:
        print("curl is not installed: nothing to compare with.")
    print(f"\nMost memory above idle: {peak:.1f} MiB (target: under {TARGET_MIB:g}).")
    slowest = min(shares.values(), default=None)
    if slowest is not None:
        print(f"Slowest against curl: {slowest:.2f} (target: at least {TARGET_OF_CURL:g}).")
    same = all(transfer.sha256 == sha256 for transfer in transfers)
    fast = slowest is None or slowest >= TARGET_OF_CURL
    return 0 if same and fast and peak < TARGET_MIB else 1


def shares_of_curl(transfers: Sequence[Transfer]) -> dict[str, float]:
    """Return the throughput of each operator's transfer over curl's, e.g. ``{"upload video": 0.9}``."""
    curls = {(t.what, t.asset_type): t.mib_per_second for t in transfers if t.client == "curl"}
    ours = [t for t in transfers if t.client != "curl" and (t.what, t.asset_type) in curls]
    return {
        f"{t.what} {t.asset_type}": round(t.mib_per_second / curls[t.what, t.asset_type], 2) for t in ours
    }


class _Bench:
    """One source file and one sandbox."""

    def __init__(self, folder: Path, source: Path, address: SandboxAddress, api: HedraClient) -> None:
        self._folder = folder
        self._source = source
        self._size = source.stat().st_size
        self._address = address
        self._api = api

    def by_operators(self, asset_type: str) -> Iterator[Transfer]:
        """Upload by one operator, download by the other."""
        went, asset = self._run_operator("upload", asset_type, source=str(self._source))
        if asset["reused"]:
            raise RuntimeError("The upload was there already: nothing was measured.")
        sha256 = self._fetched_sha256(asset["asset_id"], asset_type)
        yield Transfer("upload", asset_type, "hedra_provider", self._size, sha256=sha256, **went)
        with self._destination() as path:
            went, _ = self._run_operator(
                "download", asset_type, asset_id=asset["asset_id"], destination=str(path)
            )
            sha256 = _sha256(path)
        yield Transfer("download", asset_type, "hedra_provider", self._size, sha256=sha256, **went)

    def by_curl(self, curl: str, asset_type: str) -> Iterator[Transfer]:
        """Upload and download by curl, to and from an asset of its own."""
        from hedra_provider.api import calls

        asset = self._api.run(calls.create_asset("source.bin", asset_type))
        if asset.upload_url:
            arguments = ["--upload-file", str(self._source), asset.upload_url]
        else:
            key = f"X-API-Key: {self._address.api_key}"
            url = f"{self._address.base_url}/assets/{asset.id}/upload"
            arguments = ["--header", key, "--form", f"file=@{self._source}", url]
        # -q: no settings of the user's.
        start = [curl, "-q", "--silent", "--show-error", "--fail", "--noproxy", "*"]
        went = _run_alone([*start, *arguments, "--output", os.devnull])
        sha256 = self._fetched_sha256(asset.id, asset_type)
        yield Transfer("upload", asset_type, "curl", self._size, sha256=sha256, **went)
        with self._destination() as path:
            went = _run_alone([*start, "--output", str(path), self._file_url(asset.id, asset_type)])
            sha256 = _sha256(path)
        yield Transfer("download", asset_type, "curl", self._size, sha256=sha256, **went)

    def _run_operator(self, what: str, asset_type: str, **plan: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run one operator in a process of its own; return what it took and what it returned."""
        plan = {"what": what, "asset_type": asset_type, **plan}
        command = [sys.executable, "-m", "benchmarks.bench_transfer", "--client", json.dumps(plan)]
        extra = {"AIRFLOW_CONN_HEDRA_DEFAULT": self._address.connection}
        env = environment(self._folder / "airflow", DAGS, extra)
        with tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=env,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            with _bounded(process):
                assert process.stdin is not None
                _read_until(process, "ready", errors)
                os.sync()
                with _Memory(process.pid) as memory:
                    print("go", file=process.stdin, flush=True)
                    said = json.loads(_read_until(process, "{", errors))
        took = {
            "seconds": round(said["seconds"], 3),
            "peak_mib": memory.peak_mib,
            "above_idle_mib": round(memory.peak_mib - memory.first_mib, 1),
        }
        return took, said["result"]

    def _fetched_sha256(self, asset_id: str, asset_type: str) -> str:
        """Return the hash of what the server has."""
        seen = hashlib.sha256()
        with self._api.http.stream("GET", self._file_url(asset_id, asset_type)) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_raw():
                seen.update(chunk)
        return seen.hexdigest()

    def _file_url(self, asset_id: str, asset_type: str) -> str:
        from hedra_provider.api import calls

        (asset,) = self._api.run(calls.list_assets(asset_type, [asset_id]))
        if not asset.file_url:
            raise RuntimeError(f"The sandbox has no file for the {asset_type} asset {asset_id}.")
        return asset.file_url

    @contextmanager
    def _destination(self) -> Iterator[Path]:
        path = self._folder / "arrived.bin"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


class _Memory:
    """Samples the resident memory of a process from outside while the block lasts."""

    def __init__(self, pid: int) -> None:
        import psutil  # type: ignore[import-untyped]  # of Airflow

        self._process = psutil.Process(pid)
        self._gone: type[Exception] = psutil.NoSuchProcess
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.first_mib = self.peak_mib = self._now()

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.peak_mib = max(self.peak_mib, self._now())

    def _now(self) -> float:
        try:
            return round(float(self._process.memory_info().rss) / MIB, 1)
        except self._gone:
            return 0.0


def _run_alone(command: Sequence[str]) -> dict[str, Any]:
    """Run a command; return what it took."""
    os.sync()
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with _bounded(process), _Memory(process.pid) as memory:
        _, errors = process.communicate()
        seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed: {errors.strip()}")
    return {"seconds": round(seconds, 3), "peak_mib": memory.peak_mib, "above_idle_mib": None}


@contextmanager
def _bounded(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kill a process that takes too long, and whatever happens leave none behind."""
    timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
    timer.start()
    with process:
        try:
            yield
        finally:
            timer.cancel()
            process.kill()


def _read_until(process: subprocess.Popen[str], start: str, errors: Any) -> str:
    """Return the next line that starts so; Airflow's log may be between."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return line
    errors.seek(0)
    words = errors.read().strip().splitlines() or ["it said nothing"]
    raise RuntimeError(f"The client process ended early: {words[-1]}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(transfer: Transfer, sha256: str, shares: Mapping[str, float]) -> list[str]:
    above = transfer.above_idle_mib
    share = shares.get(f"{transfer.what} {transfer.asset_type}") if transfer.client != "curl" else None
    return [
        f"{transfer.what} {transfer.asset_type}"
        + (f", {WAYS[transfer.asset_type]}" if transfer.what == "upload" else ""),
        transfer.client,
        f"{transfer.seconds:.2f}",
        f"{transfer.mib_per_second:.0f}",
        "" if share is None else f"{share:.2f}",
        "" if above is None else f"{above:.1f}",
        f"{transfer.peak_mib:.1f}",
        "same" if transfer.sha256 == sha256 else "DIFFERS",
    ]


if __name__ == "__main__":
    sys.exit(main())
