"""What Airflow's side needs of Hedra, in the provider's own words: one class for each version of its API.

- ``protocol``: what every version can do. Operators, sensors, triggers and the storage of results use this.
- ``avatar``: the arguments of a video of a portrait that speaks, the same for every version.
- ``v2``: the service of API v2. ``v2_paid_once``: how it pays once. ``v2_request``: its bodies.
- ``v3``: the service of API v3. ``v3_paid_once``: how it pays once. ``v3_request``: its requests.
- ``submit_records``: where a task run records its submits.
- ``voices``, ``languages``, ``job_request``, ``input_schema``, ``differences``, ``expiry``: parts of
  a service.

Knows no Airflow. Most methods return a call (:mod:`hedra_provider.api.calls`), which sends nothing until a
client runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hedra_provider.service.protocol import Account, Hedra


def _v2(account: Account) -> Hedra:
    from hedra_provider.service.v2 import HedraV2

    return HedraV2(account)


def _v3(account: Account) -> Hedra:
    from hedra_provider.service.v3 import HedraV3

    return HedraV3(account)


_SERVICES: Mapping[int, Callable[[Account], Hedra]] = {2: _v2, 3: _v3}


def service_of(account: Account) -> Hedra:
    """
    Return the service for a connection.

    :param account: The settings of the connection. Their ``api_version`` chooses.
    """
    return _SERVICES[account.api_version](account)
