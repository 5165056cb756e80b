"""Report the files that a task read and stored to Airflow's hook lineage, for OpenLineage and others.

Airflow's collector keeps the reports only if a lineage plugin is installed. Airflow reads them in the process
in which the task ends.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

from hedra_provider.storage import local_path

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import BaseHook

log = logging.getLogger(__name__)

_KEPT = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in "?#")
"""The characters of a file name that are not encoded. Airflow cuts the URI of an asset at a # or a ?, and
Airflow 3.0 allows ASCII only. Spaces and per cent signs stay, as in the URIs of other providers."""


def report_input(hook: BaseHook, file: str) -> None:
    """
    Report that a task read a file. Raises nothing.

    :param hook: The task's hook.
    :param file: A local path, or a URI that ObjectStoragePath opens.
    """
    _report("add_input_asset", hook, file)


def report_output(hook: BaseHook, file: str) -> None:
    """
    Report that a task stored a file. Raises nothing.

    :param hook: The task's hook.
    :param file: A local path, or a URI that ObjectStoragePath opens.
    """
    _report("add_output_asset", hook, file)


def lineage_uri(file: str) -> str:
    """
    Return the URI of a file for lineage: without a connection id, password or signature.

    :param file: A local path, or a URI that ObjectStoragePath opens.
    :return: A ``file://`` URI for a local path.
    """
    local = local_path(file)
    if local is not None:
        # Links are resolved, as when a result is stored.
        return f"file://{quote(str(local.resolve()), safe=_KEPT)}"
    scheme, _, rest = file.partition("://")
    if scheme.lower() in ("http", "https"):
        rest = rest.partition("#")[0].partition("?")[0]
    place, slash, path = rest.partition("/")
    return f"{scheme}://{quote(place.rpartition('@')[2] + slash + path, safe=_KEPT)}"


def _report(method: str, hook: BaseHook, file: str) -> None:
    from hedra_provider.api.redaction import clean

    try:
        # Imported here: it loads Airflow's plugins and providers.
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        getattr(get_hook_lineage_collector(), method)(context=hook, uri=lineage_uri(file))
    except Exception as error:  # noqa: BLE001  an error of a collector must not fail the task
        log.warning("Lineage does not include %s: %s", clean(file), clean(f"{type(error).__name__}: {error}"))
