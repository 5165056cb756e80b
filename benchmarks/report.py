"""How a benchmark reports: the machine it ran on, a table to read, JSON to compare."""

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
    """Return what a figure depends on, and nothing that names the machine."""
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

    :param name: Of the benchmark; its results go to ``benchmarks/results/<name>.json``.
    :param title: A line above the table.
    :param table: As :func:`text_table` returns it.
    :param results: What JSON can hold.
    :param missed: The targets that were missed.
    :param keep: False for a run on another scale than that of the documentation: it is printed only.
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
