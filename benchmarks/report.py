"""The report of a benchmark: a description of the machine, a table, and JSON."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> dict[str, Any]:
    """Return the facts about the machine that figures depend on, without its name."""
    return {
        "cpus": os.cpu_count(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "airflow": version("apache-airflow-core"),
        "hedra_provider": version("airflow-provider-hedra"),
    }


def publish(
    name: str,
    title: str,
    table: str,
    results: Mapping[str, Any],
    *,
    missed: Sequence[str] = (),
    keep: bool = True,
) -> None:
    """
    Print a table with the targets that were missed, and write the results.

    :param name: The benchmark's name; its results go to ``benchmarks/results/<name>.json``.
    :param title: The line above the table.
    :param table: As :func:`text_table` returns it.
    :param results: The results, as JSON values.
    :param missed: The targets that were missed.
    :param keep: Whether to write the results; True by default. False for a run at another scale than that of
        the documentation, which is only printed.
    """
    facts = machine()
    print(f"\n{title}\n{described(facts)}\n\n{table}\n\n{verdict(missed)}")
    if not keep:
        return
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"at": at, "machine": facts, "title": title, "table": table, "missed": list(missed), **results}
    path.write_text(json.dumps(whole, indent=2) + "\n", "utf-8")


def verdict(missed: Sequence[str]) -> str:
    """Return a line about the targets."""
    return f"Targets missed: {'; '.join(missed)}." if missed else "All targets met."


def described(facts: Mapping[str, Any]) -> str:
    """Return what :func:`machine` returned, as a line."""
    return ", ".join(f"{what} {fact}" for what, fact in facts.items())


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
