"""Which generation belongs to which task run: the scheme is pinned, and its laws hold."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider import identity

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ids.json").read_text())
words = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize("case", GOLDEN["generation_ids"])
def test_the_scheme_is_pinned(case: dict):
    namespace = identity.account_namespace(**case["account"])
    key = identity.task_run_key(**case["task_run"]) if "task_run" in case else case["key"]
    assert identity.generation_ids(namespace, key, case["variation"])(case["n"]) == case["id"]


@pytest.mark.parametrize("case", GOLDEN["asset_ids"])
def test_the_ids_of_uploads_are_pinned(case: dict):
    namespace = identity.account_namespace(**case["account"])
    assert identity.asset_id(namespace, case["sha256"], case["type"], case["workspace_id"]) == case["id"]


@given(words, words, words, st.integers(-1, 500), st.integers(0, 7), st.integers(0, 9))
def test_an_id_is_a_function_of_the_task_run(
    dag: str, run: str, task: str, index: int, variation: int, n: int
):
    namespace = identity.account_namespace("key")

    def made() -> str:
        return identity.generation_ids(namespace, identity.task_run_key(dag, run, task, index), variation)(n)

    assert made() == made()
    assert str(uuid.UUID(made())) == made()


@given(st.lists(st.tuples(words, words, words, st.integers(-1, 500)), min_size=2, max_size=8, unique=True))
def test_two_task_runs_never_share_an_id(runs: list):
    namespace = identity.account_namespace("key")
    ids = {identity.generation_ids(namespace, identity.task_run_key(*run))(0) for run in runs}
    assert len(ids) == len(runs)


def test_two_accounts_never_share_an_id():
    assert identity.account_namespace("a") != identity.account_namespace("b")
    assert identity.account_namespace("a") != identity.account_namespace("x", id_namespace="a")


def test_a_namespace_of_ones_own_outlives_the_key():
    assert identity.account_namespace("old", "ours") == identity.account_namespace("new", "ours")


@pytest.mark.parametrize(
    ("try_number", "max_tries", "automatic"),
    [(1, 2, False), (2, 2, True), (3, 2, True), (3, 4, False), (4, 4, True), (5, 6, False), (6, 6, True)],
)
def test_a_retry_is_told_from_a_clear(try_number: int, max_tries: int, automatic: bool):
    # The table of tries and clears as seen on Airflow 3.3.2 with retries=2.
    assert identity.is_automatic_retry(try_number, max_tries, retries=2) is automatic
