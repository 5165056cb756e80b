"""The ids of generations and assets: the scheme is pinned, and its laws hold."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedra_provider.submission import identity

GOLDEN = json.loads((Path(__file__).parent / "golden" / "ids.json").read_text())
words = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize("case", GOLDEN["generation_ids"])
def test_the_scheme_is_pinned(case: dict):
    namespace = identity.account_namespace(**case["account"])
    key = identity.task_run_key(**case["task_run"]) if "task_run" in case else case["key"]
    assert identity.generation_ids(namespace, key, case["variation"], attempt_group=case["attempt_group"])(
        case["n"]
    ) == (
        case["generation_id"],
        case["asset_id"],
    )


@pytest.mark.parametrize("case", GOLDEN["asset_ids"])
def test_the_ids_of_uploads_are_pinned(case: dict):
    namespace = identity.account_namespace(**case["account"])
    assert identity.asset_id(namespace, case["sha256"], case["type"], case["workspace_id"]) == case["id"]


@given(words, words, words, st.integers(-1, 500), st.integers(0, 7), st.integers(0, 9))
def test_an_id_is_a_function_of_the_task_run(
    dag: str, run: str, task: str, index: int, variation: int, n: int
):
    namespace = identity.account_namespace("key")

    def made() -> tuple[str, str]:
        return identity.generation_ids(namespace, identity.task_run_key(dag, run, task, index), variation)(n)

    assert made() == made()
    assert all(str(uuid.UUID(one)) == one for one in made())
    assert len(set(made())) == 2


@given(st.lists(st.tuples(words, words, words, st.integers(-1, 500)), min_size=2, max_size=8, unique=True))
def test_two_task_runs_never_share_an_id(runs: list):
    namespace = identity.account_namespace("key")
    ids = {identity.generation_ids(namespace, identity.task_run_key(*run))(0)[0] for run in runs}
    assert len(ids) == len(runs)


def test_two_accounts_never_share_an_id():
    assert identity.account_namespace("a") != identity.account_namespace("b")
    assert identity.account_namespace("a") != identity.account_namespace("x", id_namespace="a")


def test_a_namespace_of_ones_own_outlives_the_key():
    assert identity.account_namespace("old", "ours") == identity.account_namespace("new", "ours")


@given(words, words)
def test_the_attempt_group_changes_the_asset_id_only(one: str, other: str):
    namespace = identity.account_namespace("key")
    mine, theirs = (
        identity.generation_ids(namespace, "row", attempt_group=attempt_group)(0)
        for attempt_group in (one, other)
    )
    assert mine[0] == theirs[0]
    assert (mine[1] == theirs[1]) is (one == other)


def test_each_clear_makes_another_key_where_it_is_asked_for():
    run = ("dag", "run", "task", -1)
    rounds = [{}, {"max_tries": 2}, {"max_tries": 4}, {"max_tries": 4, "began": "2026-11-22"}]
    assert len({identity.task_run_key(*run, **one) for one in rounds}) == 4
