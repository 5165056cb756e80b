"""The demo's report: facts about the video and the cost, as a table."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import av

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

AVATAR = ("together/hedra-avatar", "26f0fc66-152b-40ab-abed-76c43df99bc8")
AVATAR_V3 = "hedra-avatar"
TOLERANCE_SECONDS = 0.1
_ID = re.compile(r"(?:asset_|job_)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Task:
    """The outcome of one task of the run."""

    name: str
    state: str
    seconds: float | None
    """Seconds from its start to its end, including the wait; None if it did not run."""


@dataclass(frozen=True)
class Video:
    """The facts about a video file."""

    video_codec: str | None
    audio_codec: str | None
    width: int
    height: int
    seconds: float
    bytes: int

    def facts(self) -> dict[str, str]:
        """Return it in words."""
        return {
            "picture": f"{self.video_codec} {self.width}x{self.height}",
            "sound": self.audio_codec or "none",
            "length": f"{self.seconds:.2f} s",
            "size": f"{self.bytes / 1e6:.2f} MB",
        }

    def problems(self, aspect_ratio: str, resolution: str, audio_seconds: float) -> list[str]:
        """Return the differences from what was requested."""
        across, down = (int(part) for part in aspect_ratio.split(":"))
        found = []
        if self.video_codec != "h264":
            found.append(f"the picture is {self.video_codec}, not h264")
        if self.audio_codec != "aac":
            found.append(f"the sound is {self.audio_codec}, not aac")
        if not math.isclose(self.width / (self.height or 1), across / down, rel_tol=0.01):
            found.append(f"{self.width}x{self.height} is not {aspect_ratio}")
        if f"{min(self.width, self.height)}p" != resolution:
            found.append(f"{self.width}x{self.height} is not {resolution}")
        if abs(self.seconds - audio_seconds) > TOLERANCE_SECONDS:
            found.append(f"the video lasts {self.seconds:.2f} s, its audio {audio_seconds:.2f} s")
        return found


def measure(path: Path) -> Video:
    """Return the facts about a video file."""
    with av.open(str(path)) as container:
        picture = container.streams.video[0] if container.streams.video else None
        sound = container.streams.audio[0] if container.streams.audio else None
        seconds = 0.0
        if picture and picture.duration and picture.time_base:
            seconds = float(picture.duration * picture.time_base)
        return Video(
            video_codec=picture.codec_context.name if picture else None,
            audio_codec=sound.codec_context.name if sound else None,
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            seconds=seconds,
            bytes=path.stat().st_size,
        )


def audio_seconds(path: Path) -> float:
    """Return the seconds of an audio file, by counting its samples: a header may be a guess."""
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def estimate(models: Iterable[Any], seconds: float, resolution: str) -> str:
    """Return in words what an avatar video will cost at the published price."""
    for model in models:
        pricing = model.pricing or {}
        if model.slug in AVATAR or model.id in AVATAR:
            per_second = Decimal(str(pricing.get("credits_per_second") or 0))
            modifiers = (pricing.get("modifiers") or {}).get("resolution") or {}
            factor = Decimal(str(modifiers.get(resolution, 1)))
            base = Decimal(str(pricing.get("base_cost") or 0))
            credits = math.ceil((base + per_second * Decimal(str(round(seconds, 3)))) * factor)
            return (
                f"{seconds:.1f} s of {model.name} in {resolution} at {per_second * factor:f} credits/s: "
                f"about {credits} credits. Hedra's bill is what counts."
            )
    return "The catalogue names no price for the avatar model: the cost is unknown."


def estimate_v3(seconds: float, resolution: str) -> str:
    """Return in words what an avatar video will cost with a v3 key, in US dollars."""
    from fractions import Fraction

    from hedra_provider.submission.pricing import Span
    from hedra_provider.submission.rates import RATES_DATE, RATES_SOURCE, estimate_avatar, usd_per_second

    length = Span.exactly(Fraction(str(round(seconds, 3))))
    rate, cost = usd_per_second(AVATAR_V3, resolution), estimate_avatar(AVATAR_V3, resolution, length)
    if rate is None or cost is None:
        return "The price of the avatar model is not known: the cost is unknown."
    return (
        f"{seconds:.1f} s of {AVATAR_V3} in {resolution} at {float(rate):g} USD/s: about {cost}, by "
        f"{RATES_SOURCE} ({RATES_DATE}). Hedra's bill is what counts."
    )


def from_ledger(ledger: Mapping[str, Any], generation_id: str | None) -> dict[str, str]:
    """Return the cost and the requests, from the sandbox's ledger."""
    mine = [row["credits"] for row in ledger["submissions"] if row["generation_id"] == generation_id]
    jobs = [row["usd"] for row in ledger["submissions_v3"] if row["job_id"] == generation_id]
    asked = Counter(f"{row['method']} {short(row['path'])}" for row in ledger["requests"])
    lines = [f"{count} x {what}" for what, count in asked.most_common()]
    paid = f"{sum(jobs):g} USD" if jobs else f"{sum(mine)} credits"
    return {
        "paid": f"{paid} (of the sandbox), in {len(jobs or mine)} submission(s)",
        "requests": "\n".join([f"{sum(asked.values())} to the API", *lines]),
    }


def from_hedra(generation_id: str | None) -> dict[str, str]:
    """Return what Hedra charged."""
    from hedra_provider.api.errors import HedraError
    from hedra_provider.hooks import HedraHook

    if generation_id is None:
        return {}
    try:
        hook = HedraHook()
        found = hook.run(hook.service.results([generation_id])).get(generation_id)
    except HedraError as error:
        return {"paid": f"unknown: {error}"}
    known = found is not None and found.cost is not None
    return {"paid": f"{found.cost} {found.currency}" if found and known else "unknown"}


def short(path: str) -> str:
    """Return an API path without its prefix, and with `{id}` in place of ids."""
    return _ID.sub("{id}", path.removeprefix("/web-app/public"))


def table(tasks: Iterable[Task], facts: Mapping[str, str]) -> str:
    """Return tasks and facts as a table."""
    rows = [f"  {'task':<18} {'state':<16} {'time':>8}"]
    for task in tasks:
        seconds = f"{task.seconds:.1f} s" if task.seconds is not None else "-"
        rows.append(f"  {task.name:<18} {task.state:<16} {seconds:>8}")
    rows.append("")
    for name, text in facts.items():
        first, *more = text.split("\n")
        rows.append(f"  {name:<18} {first}")
        rows += [f"  {'':<18} {line}" for line in more]
    return "\n".join(rows)
