"""What `make bench-batch` says of what the sandbox saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.bench_batch import Plan, above_rate_seconds, busiest_second, judge

if TYPE_CHECKING:
    from pathlib import Path


def test_the_busiest_second_may_begin_at_any_time():
    assert busiest_second([]) == 0
    assert busiest_second([0.0, 0.9, 1.1, 1.8, 1.85, 2.0, 4.0]) == 4
    assert busiest_second([1.0, 2.0]) == 1


def test_seconds_above_the_rate_count_in_a_row():
    assert above_rate_seconds([], 1) == 0
    assert above_rate_seconds([1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 4.1], 1) == 2


def test_a_clip_that_is_charged_twice_is_seen(tmp_path: Path):
    def submission(name: str, credits: int) -> dict[str, Any]:
        return {"request": {"name": name}, "credits": credits}

    def request(at: float, status: int, origin: str = "api") -> dict[str, Any]:
        return {"at": at, "status": status, "origin": origin, "method": "GET", "path": "/models"}

    (tmp_path / "a.mp4").write_bytes(b"video")
    (tmp_path / "b.mp4").write_bytes(b"")
    ledger = {
        "submissions": [submission("a", 3), submission("b", 3), submission("a", 3), submission("b", 0)],
        "requests": [request(1.0, 200), request(1.2, 429), request(1.3, 200, "files")],
    }
    batch = judge(ledger, Plan(clips=2), tmp_path, state="success", wall_seconds=1.0, tries=2)
    assert (batch.done, batch.paid_twice, batch.requests, batch.rate_limited) == (1, 1, 2, 1)
    assert batch.kinds == {"GET /models": 2}
