"""Everything a sandbox remembers: assets, generations, credits, its clock.

Only the event loop uses it, so there are no locks. There are no timers either: the status of a generation is
computed from the clock at each request, so a test moves the clock instead of sleeping.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from hedra_provider.sandbox import rejections
from hedra_provider.sandbox.clock import Clock
from hedra_provider.sandbox.media import Facts
from hedra_provider.sandbox.records import Asset, Ending, Generation, Job, JsonObject, Phase, Plan, Pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.sandbox.options import Options

# Memory that an asset or a generation takes besides its texts, roughly.
_ROW_BYTES = 2_000

FINALIZING_FROM = 0.9
"""Share of the working time after which a generation is ``finalizing``."""


class State:
    """See the module.

    :param options: how the sandbox was started.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.clock.offset_seconds = 0.0
        self.assets: dict[str, Asset] = {}
        self.generations: dict[str, Generation] = {}
        self.submissions: list[JsonObject] = []
        self.pools: dict[str | None, Pool] = {None: Pool(self.options.default_credits)}
        self.pools |= {name: Pool(credits) for name, credits in (self.options.workspaces or {}).items()}
        # Failed generations whose credits were not given back yet.
        self._owed: dict[str, Generation] = {}
        self._kept_bytes = 0
        self._running: dict[str, Generation] = {}

    def keep(self, size: int) -> None:
        """Count the memory for a request that creates something.

        :param size: bytes of the request.
        :raises Rejection: 413 beyond the limit; a reset makes room.
        """
        # Twice: a generation and its row in the ledger.
        size = _ROW_BYTES + 2 * size
        if self._kept_bytes + size > self.options.max_kept_bytes:
            raise rejections.too_large("The sandbox remembers all it can; reset it: POST /_sandbox/reset.")
        self._kept_bytes += size

    def give_back(self, size: int | None) -> None:
        """Undo :meth:`keep` for a request that was rejected.

        :param size: bytes of the request; None, if it was not counted.
        """
        if size is not None:
            self._kept_bytes -= _ROW_BYTES + 2 * size

    # Credits

    def pool(self, workspace_id: str | None, needed: int) -> Pool:
        """Find the pool that pays.

        :param workspace_id: the workspace of the request; None for the account itself.
        :param needed: credits.
        :raises Rejection: 402 without enough credits, 403 for an unknown workspace. Hedra falls back to the
            default pool for a workspace it does not know, so a wrong id reads as 402 when that pool is empty
            (observed).
        """
        self.settle()
        pool = self.pools.get(workspace_id)
        if pool is None:
            if self.pools[None].available > 0:
                raise rejections.unknown_workspace(str(workspace_id))
            pool = self.pools[None]
        if pool.available < needed:
            raise rejections.insufficient_balance(needed, pool.available)
        return pool

    def require_member(self, workspace_id: str) -> None:
        """Reject a workspace of another account, also where nothing is charged.

        :param workspace_id: its id.
        :raises Rejection: 403.
        """
        if workspace_id not in self.pools:
            raise rejections.unknown_workspace(workspace_id)

    def settle(self) -> None:
        """Refund generations that have failed by now."""
        now = self.clock.now()
        for generation in [g for g in self._owed.values() if g.ends_at <= now]:
            del self._owed[generation.id]
            generation.refunded = True
            pool = self.pools[generation.workspace_id]
            pool.used -= generation.credits
            pool.refunded += generation.credits

    # Generations

    def submit(
        self,
        plan: Plan,
        request: JsonObject,
        ids: list[str],
        asset_ids: list[str],
        workspace_id: str | None,
        duplicate_of: str | None = None,
        ending: Ending | None = None,
    ) -> list[Generation]:
        """Charge and start one generation per id.

        :param plan: what to make.
        :param request: the body as it was sent.
        :param ids: ids of the generations.
        :param asset_ids: ids of their assets.
        :param workspace_id: the workspace that pays; None for the account itself.
        :param duplicate_of: an earlier generation of the same id; default None.
        :param ending: how they will end by a fault; default None, which completes them.
        :raises Rejection: 402, 403 or 429; nothing is charged then.
        """
        self.check_parallel(len(ids))
        pool = self.pool(workspace_id, plan.credits * len(ids))
        batch_id = str(uuid4()) if len(ids) > 1 else None
        now = self.clock.now()
        started = []
        for generation_id, asset_id in zip(ids, asset_ids, strict=True):
            pool.used += plan.credits
            generation = Generation(
                id=generation_id,
                asset_id=asset_id,
                type=plan.type,
                request=request,
                created_at=now,
                credits=plan.credits,
                # An unknown workspace was paid from the default pool.
                workspace_id=workspace_id if workspace_id in self.pools else None,
                job=plan.job,
                queue_seconds=self.options.queue_seconds,
                seconds=self.options.seconds,
                batch_id=batch_id,
                image_id=plan.image_id,
                audio_id=plan.audio_id,
                error=ending.error if ending else None,
                final_status=ending.status if ending else "complete",
            )
            self.add(generation)
            self.record_submission(generation, request, plan.credits, duplicate_of)
            started.append(generation)
        return started

    def add(self, generation: Generation) -> None:
        """Enter a generation."""
        self.generations[generation.id] = generation
        self._running[generation.id] = generation
        if generation.error and not generation.refunded:
            self._owed[generation.id] = generation

    def fail(self, generation: Generation, error: JsonObject) -> None:
        """Let a generation end in an error.

        :param generation: what failed.
        :param error: the error object it shows.
        """
        generation.error, generation.final_status = error, "error"
        if not generation.refunded:
            self._owed[generation.id] = generation

    def check_parallel(self, more: int) -> None:
        """Reject generations beyond ``max_parallel``.

        :param more: how many are to start.
        :raises Rejection: 429.
        """
        now = self.clock.now()
        self._running = {key: g for key, g in self._running.items() if g.ends_at > now}
        limit = self.options.max_parallel
        if limit is not None and len(self._running) + more > limit:
            raise rejections.too_many(
                f"Too many generations in progress: your plan allows {limit} at a time."
            )

    def record_submission(
        self, generation: Generation, request: JsonObject, credits: int, duplicate_of: str | None
    ) -> None:
        """Enter a submit in the ledger.

        :param generation: the new generation, or the existing one of a duplicate.
        :param request: the body as it was sent.
        :param credits: charged credits; 0 for a duplicate that cost nothing.
        :param duplicate_of: an earlier generation of the same id, or None.
        """
        self.submissions.append(
            {
                "generation_id": generation.id,
                "type": generation.type,
                "workspace": generation.workspace_id,
                "credits": credits,
                "request": request,
                "at": self.clock.now(),
                "duplicate_of": duplicate_of,
            }
        )

    def phase(self, generation: Generation) -> Phase:
        """Compute the phase of a generation from the clock."""
        now = self.clock.now()
        left = generation.ends_at - now
        if left <= 0:
            if generation.ends_by_fault:
                return Phase(generation.final_status, 1.0, None)
            if self.has_file(generation):
                return Phase("complete", 1.0, 0)
            # Due by the clock, but the file is still being made.
            return Phase("finalizing", 0.99, 1)
        eta = math.ceil(left)
        worked = now - generation.created_at - generation.queue_seconds
        if worked < 0:
            return Phase("queued", 0.0, eta)
        progress = min(0.99, worked / generation.seconds)
        return Phase("finalizing" if progress >= FINALIZING_FROM else "processing", round(progress, 4), eta)

    def is_taken(self, asset_id: str) -> bool:
        """Return whether an asset has this id, or a generation has reserved it."""
        return asset_id in self.assets

    def first_requested(self, ids: list[str]) -> str | None:
        """Find the first generation that was requested under one of these ids. With ``duplicate_id=ignore``
        it has another id.

        :param ids: ids that clients made.
        """
        for submission in self.submissions:
            request = submission["request"]
            sent = [request.get("generation_id"), *(request.get("generation_ids") or ())]
            # As they were sent: perhaps in capitals.
            if not {str(UUID(key)) for key in sent if key}.isdisjoint(ids):
                return str(submission["generation_id"])
        return None

    def has_file(self, generation: Generation) -> bool:
        """Return whether the file of a generation exists."""
        asset = self.assets.get(generation.asset_id)
        return asset is not None and asset.file is not None

    def visible_assets(self, asset_type: str) -> Iterator[Asset]:
        """Yield assets that ``GET /assets`` lists: those with a file; generated ones when complete."""
        for asset in self.assets.values():
            if asset.type != asset_type or asset.file is None:
                continue
            generation = self.generations.get(asset.generation_id or "")
            if generation is None or self.phase(generation).status == "complete":
                yield asset

    # Saving

    def dump(self) -> JsonObject:
        """Return everything as JSON."""
        return {
            "version": 1,
            "clock_offset_seconds": self.clock.offset_seconds,
            "pools": [[name, asdict(pool)] for name, pool in self.pools.items()],
            "assets": [asdict(asset) for asset in self.assets.values()],
            "generations": [asdict(generation) for generation in self.generations.values()],
            "submissions": self.submissions,
        }

    def load(self, saved: JsonObject) -> None:
        """Restore what :meth:`dump` returned."""
        self.clear()
        self.clock.offset_seconds = saved["clock_offset_seconds"]
        self.pools |= {name: Pool(**pool) for name, pool in saved["pools"]}
        for row in saved["assets"]:
            self.assets[row["id"]] = Asset(**{**row, "facts": Facts(**row["facts"])})
        for row in saved["generations"]:
            generation = Generation(**{**row, "job": Job(**row["job"])})
            if generation.error and generation.final_status == "complete":
                # Saved by a version that knew no other end of a failure.
                generation.final_status = "error"
            self.add(generation)
        self.submissions = saved["submissions"]
