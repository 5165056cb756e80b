"""Which planner polls the generations of a connection: the one of its API version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hedra_provider.polling.job_planner import JobPlanner
from hedra_provider.polling.planner import Planner

if TYPE_CHECKING:
    from collections.abc import Callable

    from hedra_provider.polling.base_planner import BasePlanner
    from hedra_provider.records import ApiVersion


def planner_for(
    api_version: ApiVersion, *, jitter: Callable[[], float], requests_per_minute: float | None = None
) -> BasePlanner:
    """
    Return a new planner.

    :param api_version: The version of Hedra's API that the connection speaks.
    :param jitter: Returns random numbers in [0, 1).
    :param requests_per_minute: The budget of the connection (v3). None, the default: a part of the limit that
        Hedra's answers show.
    """
    return JobPlanner(jitter, requests_per_minute) if api_version == 3 else Planner(jitter)
