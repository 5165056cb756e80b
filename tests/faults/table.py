"""The matrix as a table: ``python -m tests.faults.table`` prints it, ``--write`` puts it into its page."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.matrix import MODES, V2, Fault, Matrix, Outcome
from tests.faults.matrix_v3 import V3

TARGET = Path(__file__).resolve().parents[2] / "docs" / "proof" / "faults.md"

SIGNS = {Outcome.PASSES: "✓", Outcome.RETRIED: "↻", Outcome.FAILS: "✗"}

HEAD = """# What goes wrong, where, and how the task ends

Made from `tests/faults/matrix.py` by `python -m tests.faults.table --write`. Each cell is a test, run by
`make test`: the avatar operator, against the sandbox, with that fault at that call. {cells} cells: {faults}
faults by {calls} calls, {both} of them in both modes (waiting in the worker, and deferred). What is done at
the other calls ({once}) comes before the submit, and is the same code in both.

- ✓ the first try succeeds
- ↻ it fails, and the task's own retry succeeds once the fault is over
- ✗ it fails at once, without a retry; once the cause is put right, a clear succeeds
- ✓/↻ the first sign is for waiting in the worker, the second for deferred
- empty: this fault can't happen there

In every cell, in the end: **one** generation is paid for (a generation that failed is refunded, and its retry
is the one that is paid), the destination holds the whole video and nothing else, and it held nothing at all
after a try that failed. The error of such a try names what happened, which generation is paid for and what to
do, in one line without the key and without signed URLs.
"""


HEAD_V3 = """
## With a v3 key

Made from `tests/faults/matrix_v3.py`. {cells} cells: {faults} faults by {calls} calls, {both} of them in both
modes; the calls {once} come before the submit. What both versions share, such as reading an answer in pieces,
is in the table above only. Where the outcome of a submit stays unknown, only Hedra knows its job: the error
names the idempotency key then.
"""


def table(matrix: Matrix) -> str:
    """Return a matrix in Markdown: a row for each fault, a column for each call."""
    calls = matrix.calls
    columns = "\n".join(f"{n}. {_code(call.name)}" for n, call in enumerate(calls.values(), 1))
    head = f"| | {' | '.join(map(str, range(1, len(calls) + 1)))} |\n|---|{'---|' * len(calls)}"
    rows = [
        f"| {fault.name} | {' | '.join(_sign(matrix, fault, name) for name in calls)} |"
        for fault in matrix.faults.values()
    ]
    return "\n".join([columns, "", head, *rows]) + "\n"


def _code(name: str) -> str:
    """Put the call of a name into code: ``GET status (waiting)``."""
    call, _, why = name.partition(" (")
    return f"`{call}`" + (f" ({why}" if why else "")


def _sign(matrix: Matrix, fault: Fault, call: str) -> str:
    if not fault.meets(call):
        return ""
    signs = [SIGNS[fault.outcome(call, mode)] for mode in matrix.calls[call].modes]
    return signs[0] if len(set(signs)) == 1 else "/".join(signs)


def text() -> str:
    """Return the whole page."""
    return "\n".join([_head(HEAD, V2), table(V2) + _head(HEAD_V3, V3), table(V3)])


def _head(head: str, matrix: Matrix) -> str:
    once = [str(n) for n, call in enumerate(matrix.calls.values(), 1) if call.modes != MODES]
    return head.format(
        cells=len(list(matrix.cells())),
        faults=len(matrix.faults),
        calls=len(matrix.calls),
        both=len(matrix.calls) - len(once),
        once=", ".join(once),
    )


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        TARGET.write_text(text())
    else:
        print(text())
