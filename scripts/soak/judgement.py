"""Whether ledger, metadata database, files and logs agree after a soak: pure functions of what was found.

The owner of a generation is read from the name of its request, ``run/task/map index``, and never from the way
in which the provider makes its ids: a mistake there must not hide itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAYING = {
    2: {"avatar": 1, "batch": 2, "clip.video": 1, "submit": 1},
    3: {"avatar": 2, "clip.video": 2, "submit": 1},
}
"""The tasks that pay, and for how many generations each, by the version of Hedra's API. On v3 a text costs
two: the speech and the video.
"""

FOLLOWING = {"wait": "submit", "fetch": "submit"}
"""The tasks that follow the generation of another."""

STORING = ("avatar", "batch", "clip.video", "fetch")
"""The tasks that leave files."""

TASKS_OF_A_RUN = {2: 9, 3: 6}

WARM_UP_SECONDS = 40.0
"""A triggerer's life before this proves nothing: it loads what the first trigger of a kind needs."""

MAX_GROWTH_MIB = 16.0
"""How much a triggerer may grow between the first and the last third of its life after the warm-up. Python
and Airflow take a few MiB as the number of triggers at once goes up and down; a poller that kept what it has
finished (a subscription, its updates, a client) would pass this within an hour, at some ten KiB for each of
thousands of waits.
"""


AIRFLOWS_OWN_ENDS = ("StaleDataError: UPDATE statement on table 'task_instance'",)
"""Last words of what dies of Airflow: of a triggerer whose task is cleared as its event comes (3.3.2)."""


@dataclass(frozen=True)
class Paid:
    """
    A generation that was charged.

    :param owner: ``run/task/map index``, as its request says.
    :param credits: What it cost; with a v3 key, in millionths of a US dollar.
    :param failed: Whether it ended in an error, and its credits were given back.
    :param file: Size in bytes and hash of its file, None where it has none.
    :param api: The version of Hedra's API.
    """

    generation_id: str
    owner: str
    credits: int
    failed: bool
    file: tuple[int, str] | None = None
    api: int = 2


@dataclass(frozen=True)
class Result:
    """What a task left in XCom of one generation; the file where it says to have stored one."""

    generation_id: str
    uri: str | None = None
    size: int | None = None
    is_speech: bool = False
    """Whether it is the speech of a video (v3), which leaves no file."""


@dataclass(frozen=True)
class TaskRun:
    """
    A task instance, as the metadata database has it.

    :param api: The version of Hedra's API that its run uses.
    """

    run_id: str
    task_id: str
    map_index: int
    state: str | None
    results: tuple[Result, ...] = ()
    api: int = 2

    @property
    def pays_for(self) -> int:
        """How many generations it pays for."""
        return PAYING[self.api].get(self.task_id, 0)

    @property
    def label(self) -> str:
        """As requests name it."""
        return f"{self.run_id}/{self.task_id}/{self.map_index}"

    @property
    def owner(self) -> str:
        """The label of the task that paid for the generations of this one."""
        if self.task_id in FOLLOWING:
            return f"{self.run_id}/{FOLLOWING[self.task_id]}/{self.map_index}"
        return self.label


@dataclass(frozen=True)
class Life:
    """
    The memory of one triggerer process over time.

    :param samples: Seconds since it was first seen, resident MiB.
    """

    pid: int
    samples: Sequence[tuple[float, float]]

    @property
    def seconds(self) -> float:
        """How long it was seen."""
        return self.samples[-1][0] if self.samples else 0.0


@dataclass(frozen=True)
class Evidence:
    """
    What is left of a soak.

    :param runs: The state of each run.
    :param files: Size in bytes and hash of each file in the destinations' folders, by URI.
    :param leftovers: Unfinished and temporary files.
    :param complaints: Lines of logs that must not be there.
    :param ended: Last words of components that ended by themselves.
    :param spent: What the sandbox says is used and refunded, by the version of its API.
    :param done: How often each kind of blow met somebody.
    """

    runs: Mapping[str, str]
    tasks: Sequence[TaskRun]
    paid: Sequence[Paid]
    spent: Mapping[int, Mapping[str, int]]
    files: Mapping[str, tuple[int, str]]
    leftovers: Sequence[str]
    complaints: Sequence[str]
    ended: Sequence[str]
    lives: Sequence[Life]
    done: Mapping[str, int]


@dataclass(frozen=True)
class Verdict:
    """
    One line of the judgement.

    :param what: What must hold.
    :param figure: How it stands, in short.
    :param wrong: What differs, with ids; empty if it holds.
    """

    what: str
    figure: str
    wrong: list[str] = field(default_factory=list)


def judge(evidence: Evidence) -> list[Verdict]:
    """Return the whole judgement."""
    return [
        _every_run_succeeded(evidence),
        _no_task_is_stuck(evidence),
        _each_is_paid_once(evidence),
        _nobody_paid_for_nothing(evidence),
        _credits_add_up(evidence),
        _results_are_in_the_ledger(evidence),
        _files_are_whole(evidence),
        Verdict("no unfinished or temporary file", str(len(evidence.leftovers)), list(evidence.leftovers)),
        Verdict("no complaint in a log", str(len(evidence.complaints)), list(evidence.complaints)),
        _no_component_ended(evidence),
        _each_kind_of_blow_was_dealt(evidence),
        _memory_is_flat(evidence),
    ]


def _no_component_ended(evidence: Evidence) -> Verdict:
    """Judge the ends, but for those that are Airflow's own: these are started again, as in production."""
    wrong = [words for words in evidence.ended if not any(known in words for known in AIRFLOWS_OWN_ENDS)]
    figure = f"{len(wrong)}, beside {len(evidence.ended) - len(wrong)} by a race of Airflow's"
    return Verdict("no component ended by itself", figure, wrong)


def _every_run_succeeded(evidence: Evidence) -> Verdict:
    wrong = [f"{run} is {state}" for run, state in evidence.runs.items() if state != "success"]
    good = len(evidence.runs) - len(wrong)
    if not evidence.runs:
        wrong = ["there is no run"]
    return Verdict("every run succeeded", f"{good} of {len(evidence.runs)}", wrong)


def _no_task_is_stuck(evidence: Evidence) -> Verdict:
    wrong = [f"{task.label} is {task.state}" for task in evidence.tasks if task.state != "success"]
    good = len(evidence.tasks) - len(wrong)
    of_run = Counter(task.run_id for task in evidence.tasks)
    apis = {task.run_id: task.api for task in evidence.tasks}
    for run in evidence.runs:
        wanted = TASKS_OF_A_RUN[apis.get(run, 2)]
        if of_run[run] != wanted:
            wrong.append(f"{run} has {of_run[run]} tasks, not {wanted}")
    return Verdict("every task succeeded", f"{good} of {len(evidence.tasks)}", wrong)


def _alive_by_owner(evidence: Evidence) -> dict[str, set[str]]:
    alive: dict[str, set[str]] = defaultdict(set)
    for paid in evidence.paid:
        if not paid.failed:
            alive[paid.owner].add(paid.generation_id)
    return alive


def _each_is_paid_once(evidence: Evidence) -> Verdict:
    alive, wrong, expected = _alive_by_owner(evidence), [], 0
    for task in evidence.tasks:
        if wanted := task.pays_for:
            expected += wanted
            has = sorted(alive.get(task.label, ()))
            if len(has) != wanted:
                wrong.append(f"{task.label} paid for {len(has)} generations, not {wanted}: {', '.join(has)}")
    charged = Counter(paid.generation_id for paid in evidence.paid)
    wrong += [f"{one} was charged {times} times" for one, times in charged.items() if times > 1]
    figure = f"{sum(len(ids) for ids in alive.values())} paid, {expected} expected"
    of_v3 = sum(paid.api == 3 and not paid.failed for paid in evidence.paid)
    if of_v3:
        figure += f"; {of_v3} of them with a v3 key"
    return Verdict("each task run paid once", figure, wrong)


def _nobody_paid_for_nothing(evidence: Evidence) -> Verdict:
    owners = {task.label for task in evidence.tasks if task.pays_for}
    wrong = [f"{paid.generation_id} of {paid.owner!r}" for paid in evidence.paid if paid.owner not in owners]
    return Verdict("every paid generation is somebody's", f"{len(wrong)} orphans", wrong)


def _credits_add_up(evidence: Evidence) -> Verdict:
    wrong, figures = [], []
    for api, sums in evidence.spent.items():
        rows = [paid for paid in evidence.paid if paid.api == api]
        kept = sum(paid.credits for paid in rows if not paid.failed)
        refunded = sum(paid.credits for paid in rows if paid.failed)
        failed = sum(paid.failed for paid in rows)
        if (kept, refunded) != (sums["used"], sums["refunded"]):
            wrong.append(f"the ledger's rows say {kept} used, {refunded} refunded; its sums say {dict(sums)}")
        used = str(kept) if api == 2 else f"{kept / 1_000_000:g} USD"
        figures.append(f"{used} used, {failed} failed and refunded")
    return Verdict("credits add up", "; ".join(figures), wrong)


def _results_are_in_the_ledger(evidence: Evidence) -> Verdict:
    alive, wrong, xcoms = _alive_by_owner(evidence), [], 0
    for task in evidence.tasks:
        if not task.pays_for and task.task_id not in FOLLOWING:
            continue
        said = sorted(result.generation_id for result in task.results)
        xcoms += len(said)
        if said != sorted(alive.get(task.owner, ())):
            has = sorted(alive.get(task.owner, ()))
            wrong.append(f"{task.label} says {said}, the ledger has {has}")
    return Verdict("XComs name the ledger's generations", f"{xcoms} XComs", wrong)


def _files_are_whole(evidence: Evidence) -> Verdict:
    wrong: list[str] = []
    made = {paid.generation_id: paid.file for paid in evidence.paid}
    wanted = set()
    for task in evidence.tasks:
        if task.task_id not in STORING:
            continue
        for result in task.results:
            if result.is_speech:
                continue
            wanted.add(result.uri)
            found = evidence.files.get(result.uri or "")
            if found is None:
                wrong.append(f"{task.label}: there is no file {result.uri}")
            elif found != made.get(result.generation_id):
                wrong.append(
                    f"{task.label}: {result.uri} is {found}, Hedra's is {made.get(result.generation_id)}"
                )
            elif found[0] != result.size:
                wrong.append(f"{task.label}: {result.uri} has {found[0]} bytes, its XCom says {result.size}")
    wrong += [f"nobody stored {uri}" for uri in evidence.files.keys() - wanted]
    return Verdict("every file is there and whole", f"{len(evidence.files)} files", wrong)


def _each_kind_of_blow_was_dealt(evidence: Evidence) -> Verdict:
    # A soak in which nothing was killed proves nothing.
    wrong = [f"there was no {kind}" for kind, times in evidence.done.items() if not times]
    figure = ", ".join(f"{times} {kind}" for kind, times in evidence.done.items())
    return Verdict("blows were dealt", figure, wrong)


def _memory_is_flat(evidence: Evidence) -> Verdict:
    what = "the triggerer's memory is flat"
    longest = max(evidence.lives, key=lambda life: life.seconds, default=None)
    thirds = thirds_mib(longest.samples) if longest else None
    if longest is None or thirds is None:
        return Verdict(what, "not seen for long enough", ["no triggerer lived for long enough to judge"])
    first, last = thirds
    figure = f"{first:.1f} -> {last:.1f} MiB in {longest.seconds:.0f} s"
    wrong = []
    if last - first > MAX_GROWTH_MIB:
        wrong = [f"triggerer {longest.pid} grew by {last - first:.1f} MiB, more than {MAX_GROWTH_MIB:.0f}"]
    return Verdict(what, figure, wrong)


def thirds_mib(samples: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """
    Return the medians of the first and the last third of a life after its warm-up.

    :param samples: Seconds since it was first seen, resident MiB.
    :return: None where it was too short, or seen too seldom, to judge.
    """
    warm = [(at, mib) for at, mib in samples if at >= WARM_UP_SECONDS]
    if len(warm) < 9 or any(later < earlier for (earlier, _), (later, _) in pairwise(warm)):
        return None
    third = len(warm) // 3
    return median(mib for _, mib in warm[:third]), median(mib for _, mib in warm[-third:])
