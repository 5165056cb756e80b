"""Writes docs/reference/errors.md from the code that decides: ``python -m scripts.error_table``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hedra_provider.api import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "errors.md"

HEAD = """# Which failures are retried, and what to do

Made from `hedra_provider/api/errors.py` by `python -m scripts.error_table`. The most specific fact decides:
the reason code, else the code, else the HTTP status; never the text. An answer of v3 states itself whether a
retry can succeed: this decides where neither the reason code nor the code is known. *Retried* means: left to
the task's `retries`. What is not retried fails the task at once and uses up none.

A failed task's log has one line: the reason, then what to do, then in brackets the kind of error and the
ids. In a task, *Temporary: try again later* reads "Airflow tries again in 30 s (try 2 of 4)", or what to do
where no retry is left. `hedra_provider.exceptions.hedra_error(context["exception"])` gives an
`on_failure_callback` the error itself, with all its facts; the log at level DEBUG has its traceback.
"""

STATUSES = (400, 401, 402, 403, 404, 408, 409, 410, 413, 422, 425, 429, 500, 502, 503, 504)

OTHER_STATUSES = {"another 4xx": 499, "another 5xx": 599}
"""What stands for the statuses that have no row of their own."""


def table(title: str, rows: Sequence[tuple[str, bool, str | None]]) -> str:
    """Return one table in Markdown."""
    lines = [f"\n## {title}\n", "| | retried | what you do |", "|---|---|---|"]
    lines += [f"| {name} | {'yes' if retried else 'no'} | {remedy or ''} |" for name, retried, remedy in rows]
    return "\n".join(lines) + "\n"


def text() -> str:
    """Return the whole page."""
    reasons = [(f"`{r}`", v, errors.remedy_for(r, None, None)) for r, v in errors.RETRYABLE_REASONS.items()]
    codes = [(f"`{c}`", v, errors.remedy_for(None, c, None)) for c, v in errors.RETRYABLE_CODES.items()]
    statuses = [
        (name, errors.is_retryable(None, None, status), errors.remedy_for(None, None, status))
        for name, status in {**{str(one): one for one in STATUSES}, **OTHER_STATUSES}.items()
    ]
    of_v3 = [
        (
            f"`{fact}`" if isinstance(fact, str) else str(fact),
            errors.is_retryable(*((None, fact, None) if isinstance(fact, str) else (None, None, fact))),
            remedy,
        )
        for fact, remedy in errors.V3_REMEDIES.items()
    ]
    kinds = [
        (f"`{kind.__name__}`", kind.default_retryable, (kind.__doc__ or "").strip().splitlines()[0])
        for kind in (
            errors.HedraValueError,
            errors.HedraConfigurationError,
            errors.HedraTransportError,
            errors.HedraProtocolError,
            errors.HedraTransferError,
            errors.HedraWaitTimeoutError,
        )
    ]
    return (
        HEAD
        + table("Reason codes", reasons)
        + table("Codes", codes)
        + table("HTTP statuses", statuses)
        + table("Codes and statuses of v3 with a remedy of their own", of_v3)
        + table("Without an answer of the API", kinds).replace("what you do", "what it is")
    )


if __name__ == "__main__":
    TARGET.write_text(text())
