"""Write the tables of the last results into docs/proof/benchmarks.md. Without a result, a section stays.

    python -m benchmarks.page

`make bench` and `make bench-batch` end with it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from benchmarks.report import RESULTS, described, verdict

PAGE = Path(__file__).resolve().parent.parent / "docs" / "proof" / "benchmarks.md"
NAMES = ("polling", "scale", "airflow", "batch", "transfer", "import", "sandbox")
_SECTION = re.compile(r"^## `(\w+)`\n.*?(?=^## `|\Z)", re.MULTILINE | re.DOTALL)


def section(name: str) -> str | None:
    """Return the last result of a benchmark; None if there is none."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text("utf-8"))
    made = f"`python -m benchmarks.bench_{name}`, {found['at'][:10]}, on: {described(found['machine'])}."
    table = f"```text\n{found['table']}\n```"
    return f"## `{name}`\n\n{found['title']}.\n{made}\n\n{table}\n\n{verdict(found['missed'])}\n\n"


def page(old: str) -> str:
    """Return the page, with a new section for each benchmark that has a result."""
    sections = {match[1]: match[0] for match in _SECTION.finditer(old)}
    head = old[: old.index("## `")] if "## `" in old else old.rstrip() + "\n\n"
    found = (section(name) or sections.get(name, "") for name in NAMES)
    return head + "".join(found).rstrip() + "\n"


def main() -> int:
    """See the module."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
    print(f"\nThe tables are in docs/proof/{PAGE.name}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
