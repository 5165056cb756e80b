"""How API v2 pays once: the ids of generations are made from the task run, so nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.api.errors import HedraError, HedraInsufficientCreditsError
from hedra_provider.api.lookups import get_known_status, retry_unknown
from hedra_provider.api.requests import reject_ids
from hedra_provider.service.differences import reject_other_generation
from hedra_provider.submission.budget import pool_name
from hedra_provider.submission.plan import MAX_GENERATIONS_PER_KEY, Plan, Rule, find_existing, plan_batch
from hedra_provider.submission.submit import RETRY_IN_PLACE_SECONDS, Submission, execute_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hedra_provider.api.calls import Call
    from hedra_provider.records import Generation
    from hedra_provider.service.submit_records import SubmitRecords
    from hedra_provider.service.v2_request import BodyDraft
    from hedra_provider.submission.identity import RunIdentity


class PaidOnceV2:
    """
    Pays once for a task run, by the ids that it makes. :class:`.protocol.PaidOnce` documents the methods.

    :param run: The task run.
    :param records: Where its submits are recorded, for a v3 key that replaces the v2 key. Default: None.
    """

    def __init__(self, run: RunIdentity, records: SubmitRecords | None = None) -> None:
        self.run = run
        self.records = records

    def find(self, variations: int) -> Call[list[Submission] | None]:
        """Find the generations under the ids of this attempt group; on the first try there are none."""
        if not self.run.began_elsewhere:
            return None
        plans = yield from self._existing(variations, search=False)
        if not all(plan.found and plan.paid_here for plan in plans):
            return None
        return [Submission(plan.found, plan, answered=False) for plan in plans if plan.found]

    def named(self, generation_id: str) -> Call[Submission]:
        """Ask for its status. It is this key's payment if the key makes its id."""
        reject_other_generation(generation_id, 2)
        found = yield from retry_unknown(lambda: get_known_status(generation_id))
        plan = Plan(found.id, found.asset_id or "", found, Rule.NAMED, seen=(found.id,))
        return Submission(found, plan, answered=False, paid_here=not self.not_found_again([found.id]))

    def plan(self, draft: BodyDraft, *, outcome_unknown: bool) -> Call[list[Plan]]:
        """Decide by the ids, the requests, and who paid."""
        reject_ids(draft.body)
        ids_of_each = [self.run.ids(variation) for variation in range(draft.variations)]
        search = outcome_unknown or self.run.is_retry
        return (yield from plan_batch(draft.body, ids_of_each, models=draft.catalogue, search=search))

    def submit(
        self, draft: BodyDraft, plans: Sequence[Plan], *, retry_in_place: bool, notify: Callable[[str], None]
    ) -> Call[list[Submission]]:
        """Submit all that must be submitted in one request."""
        self._note([plan.generation_id for plan in plans if plan.must_submit])
        try:
            return (
                yield from execute_plan(
                    draft.body,
                    plans,
                    models=draft.catalogue,
                    retry_in_place_seconds=RETRY_IN_PLACE_SECONDS if retry_in_place else 0.0,
                    notify=notify,
                )
            )
        except HedraInsufficientCreditsError as error:
            error.message = f"{error.message.rstrip('.')}. {pool_name(draft.workspace_id)} was to pay."
            raise

    def may_be_paid(self, variations: int) -> Call[list[str]]:
        """Return the generations under the ids, whoever of the key paid, and whatever ids Hedra gave them."""
        plans = yield from self._existing(variations, search=True)
        return [plan.found.id for plan in plans if plan.found]

    def not_found_again(self, generation_ids: Sequence[str]) -> list[str]:
        """Return those whose ids are not made from this key."""
        return [one for v, one in enumerate(generation_ids) if not self._makes(one.lower(), v)]

    def is_last(self, generations: Sequence[Generation]) -> bool:
        """Every request of v2 is one step."""
        return True

    def ended(self, generations: Sequence[Generation]) -> None:
        """Record nothing: v2 finds generations by their ids."""

    def earlier_step(self) -> Call[Generation | None]:
        """Return None: every request of v2 is one step."""
        yield from ()
        return None

    def _note(self, generation_ids: Sequence[str]) -> None:
        """Record what is submitted. v2 itself does not need it, so a failure stops nothing."""
        if self.records is None or not generation_ids:
            return
        # Imported here: without records, v2 does without v3 and its cryptography.
        from hedra_provider.submission.v3.submit import note_v2_generation

        try:
            note_v2_generation(
                self.records.store,
                key=self.run.key,
                try_id=self.records.try_id,
                attempt_group=self.run.attempt_group,
                generation_ids=generation_ids,
            )
        except HedraError as error:
            self.records.notify(
                f"Generation {', '.join(generation_ids)} could not be recorded: {error} Only after a change "
                "from a v2 key to a v3 key would a retry need the record."
            )

    def _makes(self, generation_id: str, variation: int) -> bool:
        ids = self.run.ids(variation)
        # It is the first one, unless that failed or belongs to another request.
        return any(ids(n)[0] == generation_id for n in range(MAX_GENERATIONS_PER_KEY))

    def _existing(self, variations: int, *, search: bool) -> Call[list[Plan]]:
        ids_of_each = [self.run.ids(variation) for variation in range(variations)]
        return (yield from find_existing(ids_of_each, search=search))
