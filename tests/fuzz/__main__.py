"""Coverage-guided fuzzing of what reads Hedra's answers: ``make fuzz``, or
``python -m tests.fuzz --seconds 60 [--flow NAME] [--corpus DIR]``.

It needs atheris (``.venv/bin/pip install atheris``), which is no part of the ``dev`` extra: it is native
code, and not every machine has a wheel of it. It changes the bytes of answers towards code that was not
reached yet, and drives each flow of ``tests/fuzz/flows.py`` by both clients. What it finds it leaves in
``out/fuzz``; such a file is run again by ``python -m tests.fuzz --replay FILE``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

FOUND = Path("out/fuzz")


def main() -> None:
    """Fuzz for so many seconds, or replay what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--seconds", type=int, default=60, help="how long (60)")
    parser.add_argument("--flow", help="one flow only; by default all, one after the other")
    parser.add_argument("--corpus", type=Path, help="folder that keeps what was learnt; default a new one")
    parser.add_argument("--replay", type=Path, help="run one input again")
    options = parser.parse_args()
    # An Airflow home of its own, as for every test.
    importlib.import_module("tests.conftest")
    if options.replay:
        _Target(options.flow)(options.replay.read_bytes())
        return
    if importlib.util.find_spec("atheris") is None:
        sys.exit("Fuzzing needs atheris: pip install atheris")
    import atheris

    with atheris.instrument_imports(include=["hedra_provider.api", "hedra_provider.polling"]):
        from hedra_provider.api import client, error_bodies, transfer  # noqa: F401
        from hedra_provider.polling import blocking  # noqa: F401

    target = _Target(options.flow)
    with tempfile.TemporaryDirectory(prefix="hedra-fuzz-") as fresh:
        corpus = options.corpus or Path(fresh)
        corpus.mkdir(parents=True, exist_ok=True)
        for name, data in target.seeds():
            (corpus / name).write_bytes(data)
        FOUND.mkdir(parents=True, exist_ok=True)
        limits = [f"-max_total_time={options.seconds}", "-max_len=4096", "-timeout=20", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], str(corpus), *limits, f"-artifact_prefix={FOUND}/"], target)
        atheris.Fuzz()


class _Target:
    """Reads an input as a flow and the answers that it gets."""

    def __init__(self, flow: str | None) -> None:
        # Imported late: the fuzzer instruments what these import.
        from tests.fuzz import flows

        self._flows = flows
        self._names = [flow] if flow else list(flows.SYNC_NAMES)
        self._loop = asyncio.new_event_loop()

    def __call__(self, data: bytes) -> None:
        if not data:
            return
        name = self._names[data[0] % len(self._names)]
        self._flows.run_both(name, self._answers(data[1:]), self._loop)

    def _answers(self, data: bytes) -> list[object]:
        """An answer a part: a byte for the status, one for the headers, then the body."""
        from tests.fuzz.seeds import HEADERS, SEPARATOR, STATUSES

        answers = []
        for part in data.split(SEPARATOR)[:4]:
            status, header = (*part[:2], 0, 0)[:2]
            headers = HEADERS[header % len(HEADERS)]
            answers.append(self._flows.Canned(STATUSES[status % len(STATUSES)], headers, part[2:]))
        return answers

    def seeds(self) -> list[tuple[str, bytes]]:
        """Each flow with each document as Hedra sends it."""
        from tests.fuzz.seeds import DOCUMENTS, SEPARATOR, STATUSES

        bodies = [json.dumps(document).encode() for document in DOCUMENTS]
        found = []
        for flow in range(len(self._names)):
            for number, body in enumerate(bodies):
                for status in (0, STATUSES.index(400)):
                    answer = bytes([status, 0]) + body
                    data = bytes([flow]) + SEPARATOR.join([answer, answer])
                    found.append((f"seed-{flow}-{number}-{status}", data))
        return found


if __name__ == "__main__":
    main()
