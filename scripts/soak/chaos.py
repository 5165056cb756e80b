"""What goes wrong when: decided by a seed before anything starts, so that a soak can be repeated.

Which task run a blow then meets depends on what runs at that moment.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

JsonObject = dict[str, Any]

SUBMIT = "POST /generations"
STATUS = "GET /generations/{id}/status"
LIST = "GET /generations"
FILE = "GET /files/{id}"
IN_V3 = {
    SUBMIT: "POST /v3/models/{model}",
    STATUS: "GET /v3/jobs/{id}/status",
    LIST: "GET /v3/jobs",
    "GET /models": "GET /v3/models/{model}",
    "POST /assets": "POST /v3/files",
    "POST /assets/{id}/upload": "POST /v3/files",
    "GET /assets": "GET /v3/jobs/{id}",
}
"""Which call of v3 does what a call of v2 does, as far as there is one."""
CALLS = (SUBMIT, STATUS, LIST, FILE, "GET /models", "POST /assets", "POST /assets/{id}/upload", "GET /assets")

EVERY_SECONDS = {
    "faults": 5.0,
    "worker": 18.0,
    "triggerer": 60.0,
    "scheduler": 150.0,
    "clear": 12.0,
    "clock": 60.0,
}
"""How far two blows of a kind are from each other, on average."""

LEFT_ALONE_FROM = {"triggerer": 0.5, "scheduler": 0.9}
"""Share of the time after which a component is not killed any more: a triggerer must live for a while before
its memory shows something, and what a scheduler was doing is missed only after most of a minute.
"""

CLOCK_JUMP_SECONDS = {2: 3_700.0, 3: 300.0}
"""By the version of Hedra's API. v2: longer than the sandbox's URLs live. v3: so short that a retry finds its
lost submit within the replay window of 30 minutes; after that it stops, as documented.
"""


@dataclass(frozen=True)
class Blow:
    """
    One thing that is done to the running system.

    :param at_seconds: When, from the start of the load.
    :param kind: One of :data:`EVERY_SECONDS`.
    :param chance: In [0, 1): picks who is met, of those there are.
    :param how: For a kill: which processes.
    :param faults: The sandbox's faults from now on, by the version of its API.
    """

    at_seconds: float
    kind: str
    chance: float
    how: str = ""
    faults: Mapping[int, tuple[JsonObject, ...]] = field(default_factory=dict)


HOW = {
    # A machine that is lost; a supervisor alone (the task's code runs on); the code alone.
    "worker": ("both", "both", "supervisor", "runner"),
    # With the workers it has started, or without.
    "scheduler": ("group", "alone"),
    "triggerer": ("group",),
}


def plan_blows(seed: int, seconds: float) -> list[Blow]:
    """
    Return all blows of a soak in their order; each kind comes at least once.

    :param seconds: How long they may come.
    """
    chances = random.Random(seed)
    of_v3 = random.Random(f"{seed} v3")
    blows = []
    for kind, every in EVERY_SECONDS.items():
        window = seconds * LEFT_ALONE_FROM.get(kind, 1.0)
        number = max(1, round(window / every))
        blows += [
            Blow(
                at_seconds=round((slot + chances.random()) * window / number, 1),
                kind=kind,
                chance=chances.random(),
                how=chances.choice(HOW[kind]) if kind in HOW else "",
                faults={2: _faults(chances), 3: _faults_v3(of_v3)} if kind == "faults" else {},
            )
            for slot in range(number)
        ]
    return sorted(blows, key=lambda blow: blow.at_seconds)


def _faults(chances: random.Random) -> tuple[JsonObject, ...]:
    return tuple(chances.choice(KINDS)(chances) for _ in range(chances.randint(2, 5)))


def _faults_v3(chances: random.Random) -> tuple[JsonObject, ...]:
    """Return faults of the same kinds at the calls of API v3."""
    faults = (chances.choice(KINDS_V3)(chances) for _ in range(chances.randint(2, 5)))
    return tuple({**fault, "on": IN_V3.get(fault["on"], fault["on"])} for fault in faults)


def _cut(chances: random.Random) -> JsonObject:
    when = chances.choice(("before", "after"))
    return {"on": chances.choice(CALLS), "times": chances.randint(1, 2), "when": when, "reset": True}


def _burst(chances: random.Random) -> JsonObject:
    status = chances.choice((500, 502, 503))
    when = chances.choice(("before", "before", "after"))
    return {"on": chances.choice(CALLS), "times": chances.randint(2, 5), "when": when, "status": status}


def _too_many(chances: random.Random) -> JsonObject:
    wait = chances.choice((None, "1", "3"))
    headers = {"Retry-After": wait} if wait else None
    return {"on": chances.choice(CALLS), "times": chances.randint(1, 4), "status": 429, "headers": headers}


def _slow(chances: random.Random) -> JsonObject:
    # Some of them beyond the connection's time-out.
    seconds = round(chances.uniform(0.5, 8.0), 1)
    when = chances.choice(("before", "after"))
    return {
        "on": chances.choice(CALLS),
        "times": chances.randint(1, 3),
        "when": when,
        "delay_seconds": seconds,
    }


def _garbage(chances: random.Random) -> JsonObject:
    body = chances.choice(("<html>Bad gateway</html>", '{"id": ', "[]", "null", '"?"'))
    when = chances.choice(("before", "after", "after"))
    return {"on": chances.choice(CALLS[:3]), "times": chances.randint(1, 2), "when": when, "body": body}


def _cut_body(chances: random.Random) -> JsonObject:
    on = chances.choice((FILE, FILE, SUBMIT, STATUS, LIST))
    return {"on": on, "times": chances.randint(1, 4), "cut_at": chances.randint(1, 200)}


def _failure(chances: random.Random) -> JsonObject:
    error = chances.choice(
        (
            {"type": "UNAVAILABLE", "message": "Please try again."},
            {"type": "MODERATION_FAILED", "reason_code": "MODERATION_OUTPUT_TRANSIENT", "message": "No."},
            {"type": "INTERNAL", "message": "It broke."},
        )
    )
    return {"on": SUBMIT, "generation_error": error}


def _expired(chances: random.Random) -> JsonObject:
    body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
    headers = {"Content-Type": "application/xml"}
    return {"on": FILE, "times": chances.randint(1, 2), "status": 403, "body": body, "headers": headers}


def _odd_status(chances: random.Random) -> JsonObject:
    patch = chances.choice(
        (
            {"url": None, "download_url": None, "streaming_url": None},
            {"status": "resting", "progress": 0.1},
            {"status": "processing", "progress": 0.05, "eta_sec": 2},
        )
    )
    return {"on": STATUS, "times": chances.randint(1, 2), "patch": patch}


def _unknown_for_a_moment(chances: random.Random) -> JsonObject:
    return {"on": STATUS, "times": 1, "status": 404}


KINDS: tuple[Callable[[random.Random], JsonObject], ...] = (
    _cut,
    _burst,
    _too_many,
    _slow,
    _garbage,
    _cut_body,
    _failure,
    _expired,
    _odd_status,
    _unknown_for_a_moment,
)


def _odd_job(chances: random.Random) -> JsonObject:
    patch = chances.choice(
        (
            {"status": "RESTING", "progress": 0.1},
            {"status": "IN_PROGRESS", "progress": 0.05},
        )
    )
    return {"on": STATUS, "times": chances.randint(1, 2), "patch": patch}


def _no_output(chances: random.Random) -> JsonObject:
    return {"on": "GET /v3/jobs/{id}", "times": chances.randint(1, 2), "patch": {"outputs": []}}


KINDS_V3 = (*(kind for kind in KINDS if kind is not _odd_status), _odd_job, _no_output)
