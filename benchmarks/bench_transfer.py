"""How fast are uploads and downloads, and how much memory do they take?

    python benchmarks/bench_transfer.py [--mib 2048]

A file is uploaded as a video (one PUT to a signed URL) and as an audio (one multipart POST), and downloaded
again. Three clients do it over the same HTTP: the operators ``HedraUploadAssetOperator`` and
``HedraDownloadOperator`` with local paths, the ``HedraClient`` below them, and curl, if it is installed. The
server is the sandbox with ``--no-media``, in its own process, on loopback. The figures compare clients; they
do not show Hedra's speed.

curl is compared with the transfer itself (``store_asset`` and ``download``). An operator's time is that of
``execute``, which does more. Before an upload it reads the whole file for its SHA-256, and asks Hedra whether
an asset has these bytes already. After a download it waits until the disk has written them. So curl gets the
same extra work: ``sha256sum`` before its upload, ``sync`` after its download. The disk is idle before each
transfer.

Memory is resident memory, sampled every 5 ms from outside. Each transfer of ours runs in its own process.
"above idle" is the peak, minus the memory of the process just before the transfer, with all imports done.

The received bytes are compared with the source by SHA-256, for uploads too. All files are deleted in the end.
Prints a table and writes ``benchmarks/results/transfer.json``. Ends with 1 if one of our transfers took more
than 32 MiB, was slower than 0.75 of curl, or changed a byte.
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
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.processes import MIB, Memory, bounded, read_until, run_alone
from benchmarks.report import publish, text_table
from testbed.airflow_home import DAGS, ROOT, environment
from testbed.sandbox_process import SandboxAddress, sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from hedra_provider.api.client import HedraClient

TARGET_MIB = 32.0
"""MiB above idle that an operator may take, whatever the size of the file."""

TARGET_OF_CURL = 0.75
"""Share of curl's throughput that an operator must reach."""

ASSET_TYPES = ("video", "audio")
WAYS = {"video": "PUT", "audio": "multipart"}
OPERATOR, CLIENT, CURL, CURL_AS_FAR = CLIENTS = ("operator", "HedraClient", "curl", "curl as far")
COMPARED = {OPERATOR: CURL_AS_FAR, CLIENT: CURL}
"""The curl transfer with the same work."""


@dataclass(frozen=True)
class Transfer:
    """
    One transfer and its figures.

    :param what: ``upload`` or ``download``.
    :param client: One of :data:`CLIENTS`.
    :param same: Whether the received bytes are those that were sent.
    :param peak_mib: Peak of the client process's resident memory, in MiB.
    :param above_idle_mib: The part of it that the transfer added; None for curl, which is never idle.
    """

    what: str
    asset_type: str
    client: str
    bytes: int
    same: bool
    seconds: float
    peak_mib: float
    above_idle_mib: float | None

    @property
    def mib_per_second(self) -> float:
        """Throughput."""
        return self.bytes / MIB / self.seconds


def measure(
    mib: int,
    *,
    asset_types: Sequence[str] = ASSET_TYPES,
    clients: Sequence[str] = (OPERATOR, CLIENT),
    curl: str = "curl",
) -> list[Transfer]:
    """
    Upload and download a file.

    :param mib: The file's size in MiB.
    :param asset_types: Asset types to upload as: ``video`` by PUT, ``audio`` by multipart.
    :param clients: Some of :data:`CLIENTS`.
    :param curl: The path of curl.
    :raises RuntimeError: If the disk is too small, or a transfer failed or took too long.
    """
    from hedra_provider.api.client import HedraClient

    transfers: list[Transfer] = []
    with tempfile.TemporaryDirectory(prefix="hedra-bench-") as name:
        folder = Path(name)
        # The source, the sandbox's copy, the download, and one in reserve.
        needed, free = 4 * mib * MIB, shutil.disk_usage(folder).free
        if free < needed:
            raise RuntimeError(f"{folder} has {free // MIB} MiB free; {needed // MIB} MiB are needed.")
        source = folder / "source.bin"
        sha256 = make_file(source, mib)
        for asset_type in asset_types:
            for client in clients:
                with (
                    sandbox("--no-media", "--max-bytes", str(needed)) as address,
                    HedraClient(address.api_key, base_url=address.base_url) as api,
                ):
                    bench = _Bench(source, sha256, address, api)
                    if client in COMPARED:
                        transfers += bench.by_ours(client, asset_type)
                    else:
                        transfers += bench.by_curl(curl, asset_type, as_far=client == CURL_AS_FAR)
    return transfers


def make_file(path: Path, mib: int) -> str:
    """Write so many MiB of different, incompressible bytes; return their SHA-256 in hex."""
    seen, block = hashlib.sha256(), bytearray(os.urandom(MIB))
    with path.open("wb") as file:
        for number in range(mib):
            block[:8] = number.to_bytes(8)
            file.write(block)
            seen.update(block)
    return seen.hexdigest()


def execute(plan: Mapping[str, str]) -> int:
    """
    Run as the client process: print when ready, make one transfer on command, print its figures.

    :param plan: ``client``, ``what``, ``asset_type``, and ``source`` or ``asset_id`` and ``destination``.
    """
    transfer = by_operator(plan) if plan["client"] == OPERATOR else by_client(plan)
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    asset_id = transfer()
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "asset_id": asset_id}), flush=True)
    sys.stdin.readline()  # The last sample is of a process that still lives.
    return 0


def by_operator(plan: Mapping[str, str]) -> Callable[[], str | None]:
    """Return a function that runs an operator and returns the asset's id."""
    # Imports that the work needs, so that the idle memory includes them.
    from airflow.sdk import ObjectStoragePath  # noqa: F401

    import hedra_provider.api.client
    import hedra_provider.transfer.download  # noqa: F401
    from hedra_provider.operators import HedraDownloadOperator, HedraUploadAssetOperator

    operator: HedraDownloadOperator | HedraUploadAssetOperator
    asset_type = plan["asset_type"]
    if plan["what"] == "upload":
        operator = HedraUploadAssetOperator(task_id="it", source=plan["source"], asset_type=asset_type)
    else:
        operator = HedraDownloadOperator(
            task_id="it", asset_id=plan["asset_id"], asset_type=asset_type, destination=plan["destination"]
        )

    def run() -> str | None:
        result: dict[str, Any] = operator.execute({"ti": SimpleNamespace(xcom_push=lambda **_: None)})
        if result.get("reused"):
            raise RuntimeError("The upload was there already: nothing was measured.")
        return result.get("asset_id")

    return run


def by_client(plan: Mapping[str, str]) -> Callable[[], str | None]:
    """Return a function that makes the transfer without an operator and returns the asset's id."""
    from hedra_provider.api.sized_file import SizedFile
    from hedra_provider.hooks import HedraHook
    from hedra_provider.transfer.download import asset_file, download
    from hedra_provider.transfer.upload import store_asset

    api = HedraHook().get_conn()

    def up() -> str:
        source = Path(plan["source"])
        with source.open("rb") as file:
            sized = SizedFile(file, source.stat().st_size, source.name)
            return api.run(store_asset(sized, plan["asset_type"])).asset_id

    def down() -> None:
        with Path(plan["destination"]).open("wb") as file:
            download(api, lambda: api.run(asset_file(plan["asset_id"], plan["asset_type"])).url, file)

    return up if plan["what"] == "upload" else down


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=2048, help="size of the file (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many (default: %(default)s)")
    parser.add_argument("--client", metavar="PLAN", type=json.loads, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        return execute(given.client)
    # So that the files are deleted and the sandbox is stopped then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mib = max(1, min(given.mib, 16 * 1024))
    curl = shutil.which("curl")
    clients = CLIENTS if curl else tuple(COMPARED)
    transfers = best(
        one for _ in range(given.repeat) for one in measure(mib, clients=clients, curl=curl or "curl")
    )
    peak = max(transfer.above_idle_mib or 0.0 for transfer in transfers)
    shares = shares_of_curl(transfers)
    results = {
        "mib": mib,
        "best_of": given.repeat,
        "of_curl": shares,
        "peak_above_idle_mib": peak,
        "transfers": [{**asdict(one), "mib_per_second": round(one.mib_per_second, 1)} for one in transfers],
    }
    head = ["transfer", "client", "seconds", "MiB/s", "of curl", "above idle MiB", "peak MiB", "content"]
    table = text_table(head, [_row(transfer, shares) for transfer in transfers])
    title = f"{mib} MiB up and down, loopback, against the sandbox, best of {given.repeat}"
    slowest = min(shares.values(), default=TARGET_OF_CURL)
    targets = {
        "the same content": all(one.same for one in transfers),
        f"at least {TARGET_OF_CURL:g} of curl": slowest >= TARGET_OF_CURL,
        f"under {TARGET_MIB:g} MiB above idle": peak < TARGET_MIB,
    }
    missed = [name for name, met in targets.items() if not met]
    publish("transfer", title, table, results, missed=missed, keep=mib == parser.get_default("mib"))
    if not curl:
        print("curl is not installed: nothing to compare with.")
    return 1 if missed else 0


def best(transfers: Iterable[Transfer]) -> list[Transfer]:
    """Return the fastest transfer of each kind, with the highest memory of that kind."""
    kinds: dict[tuple[str, str, str], list[Transfer]] = {}
    for one in transfers:
        kinds.setdefault((one.what, one.asset_type, one.client), []).append(one)
    return [
        replace(
            min(runs, key=lambda run: run.seconds),
            above_idle_mib=max((run.above_idle_mib for run in runs if run.above_idle_mib), default=None),
        )
        for runs in kinds.values()
    ]


def shares_of_curl(transfers: Sequence[Transfer]) -> dict[str, float]:
    """Return the throughput of each of ours over curl's, e.g. ``{"upload video, operator": 0.9}``."""
    by_kind = {(t.what, t.asset_type, t.client): t.mib_per_second for t in transfers}
    return {
        f"{what} {kind}, {client}": round(speed / by_kind[what, kind, COMPARED[client]], 2)
        for (what, kind, client), speed in by_kind.items()
        if client in COMPARED and (what, kind, COMPARED[client]) in by_kind
    }


class _Bench:
    """One source file and one sandbox."""

    def __init__(self, source: Path, sha256: str, address: SandboxAddress, api: HedraClient) -> None:
        self._folder = source.parent
        self._source = source
        self._sha256 = sha256
        self._size = source.stat().st_size
        self._address = address
        self._api = api

    def by_ours(self, client: str, asset_type: str) -> Iterator[Transfer]:
        """Upload and download by one of ours."""
        went, asset_id = self._run(client, "upload", asset_type, source=str(self._source))
        assert asset_id
        same = self._fetched_sha256(asset_id, asset_type) == self._sha256
        yield Transfer("upload", asset_type, client, self._size, same, **went)
        with self._destination() as path:
            went, _ = self._run(client, "download", asset_type, asset_id=asset_id, destination=str(path))
            same = _sha256(path) == self._sha256
        yield Transfer("download", asset_type, client, self._size, same, **went)

    def by_curl(self, curl: str, asset_type: str, *, as_far: bool) -> Iterator[Transfer]:
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
        client = CURL_AS_FAR if as_far else CURL
        hashed = ["sh", "-c", 'sha256sum "$1" && shift && "$@"', "sh", str(self._source)] if as_far else []
        went = run_alone([*hashed, *start, *arguments, "--output", os.devnull])
        same = self._fetched_sha256(asset.id, asset_type) == self._sha256
        yield Transfer("upload", asset_type, client, self._size, same, **went)
        with self._destination() as path:
            synced = ["sh", "-c", 'file=$1; shift; "$@" && sync "$file"', "sh", str(path)] if as_far else []
            url = self._file_url(asset.id, asset_type)
            went = run_alone([*synced, *start, "--output", str(path), url])
            same = _sha256(path) == self._sha256
        yield Transfer("download", asset_type, client, self._size, same, **went)

    def _run(self, client: str, what: str, asset_type: str, **plan: str) -> tuple[dict[str, Any], str | None]:
        """Make one transfer in a new process; return its figures and the asset's id."""
        plan = {"client": client, "what": what, "asset_type": asset_type, **plan}
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
            with bounded(process):
                assert process.stdin is not None
                read_until(process, "ready", errors)
                os.sync()
                with Memory(process.pid) as memory:
                    print("go", file=process.stdin, flush=True)
                    said = json.loads(read_until(process, "{", errors))
        took = {
            "seconds": round(said["seconds"], 3),
            "peak_mib": memory.peak_mib,
            "above_idle_mib": round(memory.peak_mib - memory.first_mib, 1),
        }
        return took, said["asset_id"]

    def _fetched_sha256(self, asset_id: str, asset_type: str) -> str:
        """Return the SHA-256 of the server's file."""
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


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _row(transfer: Transfer, shares: Mapping[str, float]) -> list[str]:
    above = transfer.above_idle_mib
    share = shares.get(f"{transfer.what} {transfer.asset_type}, {transfer.client}")
    return [
        f"{transfer.what} {transfer.asset_type}"
        + (f", {WAYS[transfer.asset_type]}" if transfer.what == "upload" else ""),
        transfer.client,
        f"{transfer.seconds:.2f}",
        f"{transfer.mib_per_second:.0f}",
        "" if share is None else f"{share:.2f}",
        "" if above is None else f"{above:.1f}",
        f"{transfer.peak_mib:.1f}",
        "same" if transfer.same else "DIFFERS",
    ]


if __name__ == "__main__":
    sys.exit(main())
