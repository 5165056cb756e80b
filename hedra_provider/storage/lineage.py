"""Which files a task read and stored, told to Airflow's hook lineage: what OpenLineage and others read.

Without a reader of lineage Airflow's collector drops what it is told. Airflow reads it in the process that
ends a task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

from hedra_provider.storage import local_path

if TYPE_CHECKING:
    from hedra_provider.hooks import HedraHook

log = logging.getLogger(__name__)

_KEPT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "?#")
"""What stays as it is in the name of a file. An asset of Airflow loses what follows a # or a ?, on 3.0 it may
hold ASCII only; the rest is named as other providers name it, spaces and per cent signs too."""


def report_input(hook: HedraHook, file: str) -> None:
    """
    Tell that a task read a file. Whatever goes wrong with that, nothing is raised.

    :param hook: Of the task.
    :param file: A local path, or a URI that ObjectStoragePath opens.
    """
    _report("add_input_asset", hook, file)


def report_output(hook: HedraHook, file: str) -> None:
    """Tell that a task stored a file, as :func:`report_input` tells of one that was read."""
    _report("add_output_asset", hook, file)


def lineage_uri(file: str) -> str:
    """
    Return the URI by which lineage knows a file: without a connection's id, a password or a signature.

    :param file: A local path, or a URI that ObjectStoragePath opens.
    """
    local = local_path(file)
    if local is not None:
        # As results are stored: a link is what it points to.
        return f"file://{quote(str(local.resolve()), safe=_KEPT)}"
    scheme, _, rest = file.partition("://")
    if scheme.lower() in ("http", "https"):
        rest = rest.partition("#")[0].partition("?")[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}://{quote(place.rpartition('@')[2] + slash + path, safe=_KEPT)}"


def _report(method: str, hook: HedraHook, file: str) -> None:
    from hedra_provider.api.redaction import clean

    try:
        # Only now: it loads Airflow's plugins and asks its providers for their kinds of assets.
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        getattr(get_hook_lineage_collector(), method)(context=hook, uri=lineage_uri(file))
    except Exception as error:  # noqa: BLE001  whatever a collector does, the task goes on
        log.warning("Lineage was not told of %s: %s", clean(file), clean(f"{type(error).__name__}: {error}"))
