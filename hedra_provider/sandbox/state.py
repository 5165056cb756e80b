"""Everything a sandbox remembers: assets, generations, credits, its clock.

Only the event loop touches it, so there are no locks. Nothing happens by timers: what a generation is doing
follows from the clock when somebody asks, so a test moves the clock instead of sleeping.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hedra_provider.sandbox import refusals
from hedra_provider.sandbox.media import Facts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hedra_provider.sandbox.options import Options

JsonObject = dict[str, Any]

# What an asset or a generation takes in memory besides its texts, about.
_ROW_BYTES = 2_000

FINALIZING_FROM = 0.9
"""Share of the working time after which a generation is ``finalizing``."""


def iso(epoch_seconds: float) -> str:
    """Format a time the way Hedra does: ISO 8601 in UTC."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat().replace("+00:00", "Z")


class Clock:
    """Real time plus what was added by hand."""

    def __init__(self) -> None:
        self.offset_seconds = 0.0

    def now(self) -> float:
        """Epoch seconds."""
        return time.time() + self.offset_seconds


@dataclass
class Pool:
    """Credits of one workspace, or of the account itself. ``used`` is net of refunds."""

    allocated: int
    used: int = 0
    refunded: int = 0

    @property
    def available(self) -> int:
        """Credits that are left."""
        return self.allocated - self.used


@dataclass
class Asset:
    """One asset; ``file`` is its name in the store, None until there are bytes."""

    id: str
    type: str
    name: str
    created_at: float
    workspace_id: str | None = None
    file: str | None = None
    media_type: str = "application/octet-stream"
    size: int = 0
    facts: Facts = field(default_factory=Facts)
    generation_id: str | None = None


@dataclass(frozen=True)
class Job:
    """What has to be made for a generation, by contents: equal jobs give equal files.

    ``image`` and ``audio`` are names in the store; ``speech`` is a text to say instead of ``audio``.
    """

    kind: str
    duration_ms: int
    image: str | None = None
    audio: str | None = None
    speech: str | None = None
    speech_ms: int = 0
    audio_start_ms: int = 0
    width: int = 0
    height: int = 0


@dataclass
class Generation:
    """One generation and its future."""

    id: str
    asset_id: str
    type: str
    request: JsonObject
    created_at: float
    credits: int
    workspace_id: str | None
    job: Job
    queue_seconds: float
    seconds: float
    batch_id: str | None = None
    image_id: str | None = None
    audio_id: str | None = None
    error: JsonObject | None = None
    refunded: bool = False

    @property
    def asset_type(self) -> str:
        """Type of the asset it makes."""
        return "audio" if self.type == "text_to_speech" else "video"

    @property
    def ends_at(self) -> float:
        """When it is done, in epoch seconds."""
        return self.created_at + self.queue_seconds + self.seconds


@dataclass(frozen=True)
class Phase:
    """What a generation is doing at a moment."""

    status: str
    progress: float
    eta_sec: int | None


@dataclass(frozen=True)
class Plan:
    """A request that was found good: what to make and what it costs (each variation)."""

    type: str
    credits: int
    job: Job
    image_id: str | None = None
    audio_id: str | None = None


class State:
    """See the module.

    :param options: how the sandbox was started.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.clock = Clock()
        self.clear()

    def clear(self) -> None:
        """Forget everything that happened."""
        self.clock.offset_seconds = 0.0
        self.assets: dict[str, Asset] = {}
        self.generations: dict[str, Generation] = {}
        self.submissions: list[JsonObject] = []
        self.pools: dict[str | None, Pool] = {None: Pool(self.options.default_credits)}
        self.pools |= {name: Pool(credits) for name, credits in self.options.workspaces.items()}
        # Failed generations whose credits have not been given back yet.
        self._owed: dict[str, Generation] = {}
        self._kept_bytes = 0
        self._running: dict[str, Generation] = {}

    def keep(self, size: int) -> None:
        """Count what is about to be remembered: the bytes of a request that makes something.

        :raises Refusal: 413 beyond the limit; a reset makes room.
        """
        # Twice: a generation and its row in the ledger, as Python keeps them.
        size = _ROW_BYTES + 2 * size
        if self._kept_bytes + size > self.options.max_kept_bytes:
            raise refusals.too_large("The sandbox remembers all it can; reset it: POST /_sandbox/reset.")
        self._kept_bytes += size

    def give_back(self, size: int | None) -> None:
        """Undo :meth:`keep` for a request that was refused after all; None: it was not counted."""
        if size is not None:
            self._kept_bytes -= _ROW_BYTES + 2 * size

    # Credits

    def pool(self, workspace_id: str | None, needed: int) -> Pool:
        """Find the pool that pays.

        :raises Refusal: 402 without enough credits, 403 for an unknown workspace. Hedra falls back to the
            default pool for a workspace it does not know, so a wrong id reads as 402 when that pool is empty
            (observed).
        """
        self.settle()
        pool = self.pools.get(workspace_id)
        if pool is None:
            if self.pools[None].available > 0:
                raise refusals.unknown_workspace(str(workspace_id))
            pool = self.pools[None]
        if pool.available < needed:
            raise refusals.insufficient_balance(needed, pool.available)
        return pool

    def member(self, workspace_id: str) -> None:
        """Refuse a workspace that is not the account's (403), also where nothing is charged."""
        if workspace_id not in self.pools:
            raise refusals.unknown_workspace(workspace_id)

    def settle(self) -> None:
        """Give back the credits of generations that have failed by now."""
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
        error: JsonObject | None = None,
    ) -> list[Generation]:
        """Charge and start one generation per id.

        :param error: the error object they will end with; ``{"error_message": ...}`` alone gives only a
            message.
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
                error=error,
            )
            self.add(generation)
            self.record_submission(generation, request, plan.credits, duplicate_of)
            started.append(generation)
        return started

    def add(self, generation: Generation) -> None:
        """Take a generation into the books."""
        self.generations[generation.id] = generation
        self._running[generation.id] = generation
        if generation.error and not generation.refunded:
            self._owed[generation.id] = generation

    def fail(self, generation: Generation, error: JsonObject) -> None:
        """Let a generation end in an error after all."""
        generation.error = error
        if not generation.refunded:
            self._owed[generation.id] = generation

    def check_parallel(self, more: int) -> None:
        """Refuse ``more`` generations beyond ``max_parallel`` (429)."""
        now = self.clock.now()
        self._running = {key: g for key, g in self._running.items() if g.ends_at > now}
        limit = self.options.max_parallel
        if limit is not None and len(self._running) + more > limit:
            raise refusals.too_many(f"Too many generations in progress: your plan allows {limit} at a time.")

    def record_submission(
        self, generation: Generation, request: JsonObject, credits: int, duplicate_of: str | None
    ) -> None:
        """Note in the ledger that a submit arrived; ``credits`` is 0 when it was a duplicate that cost
        nothing.
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
        """What a generation is doing now."""
        now = self.clock.now()
        left = generation.ends_at - now
        if left <= 0:
            if generation.error:
                return Phase("error", 1.0, None)
            if self.has_file(generation):
                return Phase("complete", 1.0, 0)
            # The clock says done, the file is still being made.
            return Phase("finalizing", 0.99, 1)
        eta = math.ceil(left)
        worked = now - generation.created_at - generation.queue_seconds
        if worked < 0:
            return Phase("queued", 0.0, eta)
        progress = min(0.99, worked / generation.seconds)
        return Phase("finalizing" if progress >= FINALIZING_FROM else "processing", round(progress, 4), eta)

    def is_taken(self, asset_id: str) -> bool:
        """Whether an asset has this id, or a generation has reserved it."""
        return asset_id in self.assets

    def first_asked(self, ids: list[str]) -> str | None:
        """The first generation that was asked for under one of these ids, whatever id it got."""
        for submission in self.submissions:
            request = submission["request"]
            if not {request.get("generation_id"), *(request.get("generation_ids") or ())}.isdisjoint(ids):
                return str(submission["generation_id"])
        return None

    def has_file(self, generation: Generation) -> bool:
        """Whether the file of a generation is there."""
        asset = self.assets.get(generation.asset_id)
        return asset is not None and asset.file is not None

    def visible_assets(self, asset_type: str) -> Iterator[Asset]:
        """Assets as ``GET /assets`` lists them: with bytes; generated ones once complete."""
        for asset in self.assets.values():
            if asset.type != asset_type or asset.file is None:
                continue
            generation = self.generations.get(asset.generation_id or "")
            if generation is None or self.phase(generation).status == "complete":
                yield asset

    # Keeping

    def dump(self) -> JsonObject:
        """Everything as JSON."""
        return {
            "version": 1,
            "clock_offset_seconds": self.clock.offset_seconds,
            "pools": [[name, asdict(pool)] for name, pool in self.pools.items()],
            "assets": [asdict(asset) for asset in self.assets.values()],
            "generations": [asdict(generation) for generation in self.generations.values()],
            "submissions": self.submissions,
        }

    def load(self, saved: JsonObject) -> None:
        """Take over what :meth:`dump` gave."""
        self.clear()
        self.clock.offset_seconds = saved["clock_offset_seconds"]
        self.pools |= {name: Pool(**pool) for name, pool in saved["pools"]}
        for row in saved["assets"]:
            self.assets[row["id"]] = Asset(**{**row, "facts": Facts(**row["facts"])})
        for row in saved["generations"]:
            self.add(Generation(**{**row, "job": Job(**row["job"])}))
        self.submissions = saved["submissions"]
