"""The seam between Airflow's side and a version of Hedra's API: what another version may do there."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from hedra_provider.hooks import HedraHook
from hedra_provider.service import service_of
from hedra_provider.service.v2 import HedraV2
from hedra_provider.service.v2_paid_once import PaidOnceV2
from tests.operators.helpers import avatar
from tests.tasks import TaskInstance, run

if TYPE_CHECKING:
    from hedra_provider.testing import Sandbox


def test_a_connection_gets_the_service_of_its_version(hedra_sandbox: Sandbox):
    service = HedraHook().service
    assert isinstance(service, HedraV2)
    assert (service.api_version, service.currency) == (2, "credits")
    assert isinstance(service_of(HedraHook().settings), HedraV2)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_step_that_is_not_the_last_is_followed_by_the_next(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch, deferrable: bool
):
    # Before the wait, and after a deferral once more.
    answers = [False, False] if deferrable else [False]
    monkeypatch.setattr(PaidOnceV2, "is_last", lambda self, generations: answers.pop(0) if answers else True)
    ti = TaskInstance()
    result = run(avatar(portrait, voice, deferrable=deferrable), ti)
    assert (answers, result["status"]) == ([], "complete")
    # Without a result in between, and here the next step finds what is paid for.
    assert ti.pushed.count("generation") == 1
    assert len(hedra_sandbox.submissions) == 1


def test_an_id_that_is_unknown_before_the_submit_is_pushed_after_it(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    made: list[Any] = []
    before: list[Any] = []
    plan, submit = PaidOnceV2.plan, PaidOnceV2.submit

    def without_ids(self: PaidOnceV2, draft: Any, **options: Any) -> Any:
        made.extend((yield from plan(self, draft, **options)))
        return [replace(one, generation_id="") for one in made]

    def with_ids(self: PaidOnceV2, draft: Any, plans: Any, **options: Any) -> Any:
        before.append((ti.xcoms.get("generation_id"), [one.generation_id for one in plans]))
        return submit(self, draft, made, **options)

    ti = TaskInstance()
    monkeypatch.setattr(PaidOnceV2, "plan", without_ids)
    monkeypatch.setattr(PaidOnceV2, "submit", with_ids)
    result = run(avatar(portrait, voice), ti)
    assert before == [(None, [""])]
    assert ti.xcoms["generation_id"] == result["generation_id"]
    assert ti.pushed.index("generation_id") < ti.pushed.index("generation")


def test_the_files_are_open_until_the_submit(
    hedra_sandbox: Sandbox, portrait: str, voice: str, monkeypatch: pytest.MonkeyPatch
):
    files: list[Any] = []
    draft_avatar, submit = HedraV2.draft_avatar, PaidOnceV2.submit

    def remembered(self: HedraV2, checked: Any, **media: Any) -> Any:
        files.extend((media["image"].file._file, media["audio"].file._file))
        return draft_avatar(self, checked, **media)

    def checked_submit(self: PaidOnceV2, draft: Any, plans: Any, **options: Any) -> Any:
        assert [file.closed for file in files] == [False, False]
        return submit(self, draft, plans, **options)

    monkeypatch.setattr(HedraV2, "draft_avatar", remembered)
    monkeypatch.setattr(PaidOnceV2, "submit", checked_submit)
    run(avatar(portrait, voice))
    assert [file.closed for file in files] == [True, True]


def test_voices_and_the_balance_are_records(hedra_sandbox: Sandbox):
    hook = HedraHook()
    voice, *_ = hook.run(hook.service.voices())
    assert voice.id
    assert voice.name
    assert voice.labels["language"]
    balance = hook.run(hook.service.balance(None))
    assert (balance.available, balance.currency, balance.pool) == (
        10_000,
        "credits",
        "The key's default workspace",
    )
