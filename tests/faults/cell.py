"""One cell of the matrix, and what must hold in each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.api.errors import RETRYABLE_CODES, HedraError, remedy_for
from hedra_provider.exceptions import hedra_error
from hedra_provider.sandbox.faults import template
from hedra_provider.sandbox.studio import PLACEHOLDER
from tests.faults.matrix import Fault, Matrix, Outcome
from tests.faults.run import AFTER_IT, FIRST, Pipeline, Try, connect, paid, used

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox

REMEDIES = {remedy_for(None, None, status) for status in range(400, 505)} | {
    remedy_for(None, code, None) for code in RETRYABLE_CODES
}
REMEDIES.add("A retry of the task that submitted it adopts it without paying again")
OUTCOME_UNKNOWN = "may be accepted and paid for"
"""What an error says of a v3 submit, of which nothing but its idempotency key is known."""


def check_cell(
    matrix: Matrix, sandbox: Sandbox, made: Pipeline, patch: pytest.MonkeyPatch, fault: str, call: str
) -> None:
    """Let the fault happen at the call, and then the retry or the clear that follows."""
    about = matrix.faults[fault]
    connect(sandbox, patch, tiny_timeout=about.tiny_timeout)
    sandbox.faults(*about.sandbox_faults(call, matrix.calls))

    first = made.attempt(FIRST)

    ledger = sandbox.ledger()
    assert first.outcome is about.outcome(call, made.mode), first.error
    assert met(matrix, ledger, call), "the fault did not happen"
    require_no_key_elsewhere(ledger)
    if first.error is not None:
        assert list(made.destination.parent.glob("*")) == []
        is_unpaid = matrix.calls[call].before_the_submit or not was_taken(about, call)
        assert len(paid(ledger)) == (not is_unpaid)
        require_fit_to_show(first, sandbox, paid(ledger))
        sandbox.faults()
        connect(sandbox, patch, tiny_timeout=False)
        second = made.attempt(AFTER_IT[first.outcome])
        assert second.outcome is Outcome.PASSES, second.error
        ledger = sandbox.ledger()
    require_one_whole_video(made, ledger, about)


def was_taken(fault: Fault, call: str) -> bool:
    """Whether the first try got its generation submitted."""
    return call != "submit" or fault.refunded or fault.json.get("when") == "after"


def met(matrix: Matrix, ledger: dict[str, Any], call: str) -> bool:
    """Whether the call was made at all."""
    return (
        len([seen for seen in seen_calls(ledger) if seen == matrix.calls[call].on]) > matrix.calls[call].skip
    )


def seen_calls(ledger: dict[str, Any]) -> list[str]:
    """The requests, with templates of their paths."""
    return [f"{row['method']} {template(row['path'])}" for row in ledger["requests"]]


def require_no_key_elsewhere(ledger: dict[str, Any]) -> None:
    assert not [row for row in ledger["requests"] if row["has_key"] and row["origin"] != "api"]


def require_fit_to_show(ended: Try, sandbox: Sandbox, submissions: list[dict[str, Any]]) -> None:
    """What, which generation, what to do; and no secret."""
    error, cause = str(ended.error), hedra_error(ended.error)
    assert isinstance(cause, HedraError)
    assert error.startswith(cause.message[:100])
    assert f"({type(cause).__name__}" in error
    assert ended.error
    assert ended.error.__suppress_context__
    assert not ended.error.__cause__
    remedies = (cause.remedy, *REMEDIES, "Airflow tries again")
    assert [remedy for remedy in remedies if remedy and remedy in error]
    for submission in submissions:
        is_known = submission["generation_id"] in error
        assert is_known or (OUTCOME_UNKNOWN in error and submission["idempotency_key"] in error), error
    assert sandbox.api_key not in error
    # Of a v3 key, neither half.
    assert not [part for part in sandbox.api_key.split(":") if part in error]
    assert "X-Amz-" not in error
    assert len(error) < 1500
    assert error.isprintable()


def require_one_whole_video(made: Pipeline, ledger: dict[str, Any], fault: Fault | None) -> None:
    assert [path.name for path in made.destination.parent.iterdir()] == [made.destination.name]
    content = made.destination.read_bytes()
    assert content.startswith(PLACEHOLDER)
    assert content.endswith(b")")
    refunded = 1 if fault and fault.refunded else 0
    submissions = paid(ledger)
    assert len(submissions) == 1 + refunded
    assert used(ledger) == pytest.approx(submissions[-1]["credits"])
