"""Any order of two attempts, lost answers, kills and moves of the clock: nothing is paid for twice."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hedra_provider.submission.v3.merge import SETTLED_SECONDS
from tests.submission.v3.scripted import MINUTE, Process, World

ACTIONS = st.one_of(
    st.tuples(st.just("step"), st.integers(0, 1), st.integers(1, 30)),
    st.tuples(st.sampled_from(["lost", "cut", "unsent"]), st.integers(0, 1), st.just(1)),
    st.tuples(st.just("kill"), st.integers(0, 1), st.just(1)),
    st.tuples(st.just("clock"), st.just(0), st.sampled_from([1, 5 * 60, 12 * 60, 31 * 60])),
    st.tuples(st.just("answer"), st.just(0), st.sampled_from([400, 402, 429, 500])),
)


def kill(world: World, process: Process) -> None:
    process.leave_hedra()
    process.is_done = True


def check(world: World) -> None:
    """Nothing is paid twice for one key, and no key is begun while an earlier outcome is unknown."""
    made = Counter(key for key, _ in world.hedra.keys.items())
    assert max(made.values(), default=0) <= 1
    alive = [job for job in world.hedra.jobs if job.status != "FAILED"]
    # One request, one attempt group, no job failed: a second paid job would be a second payment.
    assert len(alive) <= 1, world.log


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=40), st.sampled_from(["bytes", "json"]), st.booleans())
def test_nothing_is_paid_twice(actions, compares, burns):
    world = World.of(compares=compares, burns=burns)
    processes = [world.attempt(), world.attempt("rendered otherwise")]
    for what, which, count in actions:
        process = processes[which]
        if what == "clock":
            world.clock.move(count)
        elif what == "answer":
            world.hedra.answers.append((count, "WORDS"))
        elif what == "kill":
            kill(world, process)
        else:
            for _ in range(count):
                if process.is_done:
                    processes[which] = process = world.attempt("rendered otherwise")
                process.step("answered" if what == "step" else what)
        check(world)
    # The rest of the run goes well: it ends with one paid job, or stops where a job may be paid for.
    world.hedra.answers.clear()
    for process in processes:
        kill(world, process)
    world.clock.move(MINUTE)
    last = world.attempt().finish()
    check(world)
    assert (last.error is None) == (last.result is not None)
    if last.error is not None:
        assert last.error.outcome_unknown
    else:
        assert world.hedra.paid == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ACTIONS, max_size=40))
def test_no_next_key_while_an_earlier_outcome_is_unknown(actions):
    """Whatever happens, the intent of n + 1 is written after each send of n was rejected, or searched for."""
    world = World.of()
    processes = [world.attempt(), world.attempt()]
    for what, which, count in actions:
        process = processes[which]
        if what == "clock":
            world.clock.move(count)
        elif what == "answer":
            world.hedra.answers.append((count, "WORDS"))
        elif what == "kill":
            kill(world, process)
        else:
            for _ in range(count):
                if process.is_done:
                    processes[which] = process = world.attempt()
                process.step("answered" if what == "step" else what)
    intents = [one for record in world.records() for one in record.intents]
    for later in intents:
        earlier = [one for one in intents if one.n == later.n - 1]
        unknown = [
            send
            for one in earlier
            for send in one.sends
            if send.outcome not in ("rejected", "rate_limited", "not_sent")
            and send.began_at <= later.began_at
        ]
        closed_at = [one.closed_at for one in earlier if one.closed_at]
        if unknown:
            assert closed_at
            assert min(closed_at) <= later.began_at
            assert max(send.began_at for send in unknown) + SETTLED_SECONDS <= max(closed_at)
