"""When a round of pages requests the next page, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from hedra_provider.polling.page_round import PageRound

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def round_of(count: int, oldest: datetime | None = None) -> PageRound:
    return PageRound({f"job_{number}": None for number in range(count)}, 0.0, oldest)


def test_it_goes_on_while_pages_show_waiting_jobs():
    pages = round_of(300)
    assert pages.read(["a"] * 100, NOON, "next", 200)
    assert pages.cursor == "next"
    assert not pages.read(["a"] * 100, NOON, None, 100)
    assert pages.read_to_the_end


@pytest.mark.parametrize(("earlier", "goes_on"), [(0, True), (1, False)])
def test_it_ends_where_the_rows_are_older_than_the_oldest_waiting_job(earlier: int, goes_on: bool):
    pages = round_of(300, NOON)
    assert pages.read(["a"] * 50, NOON - timedelta(seconds=earlier), "next", 250) is goes_on
    assert pages.read_to_the_end is not goes_on


def test_one_or_two_missing_jobs_are_not_worth_a_page():
    pages = round_of(102)
    assert not pages.read(["a"] * 100, NOON, "next", 2)
    # The list may well show them: they are not polled alone for that.
    assert not pages.read_to_the_end


@pytest.mark.parametrize(("missing", "pages_read"), [(3, 1), (9, 3), (300, 100)])
def test_useless_pages_cost_no_more_than_a_third_of_the_status_requests(missing: int, pages_read: int):
    pages, read = round_of(missing), 1
    while pages.read([], NOON, "next", missing):
        read += 1
    assert read == pages_read


def test_it_begins_again_once_after_a_cursor_was_rejected():
    pages = round_of(10)
    # The first page has no cursor that could have lapsed.
    assert not pages.restart()
    pages = round_of(300)
    pages.read(["a"] * 100, NOON, "next", 200)
    assert pages.restart()
    assert pages.cursor is None
    pages.read(["a"] * 100, NOON, "next", 100)
    assert not pages.restart()
