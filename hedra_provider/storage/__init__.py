"""
The user's files: read from, and written whole to, local disk or object storage.

- ``paths``: what a path or URI names, and what is no file.
- ``object_storage``: URIs that Airflow opens, and the errors of their drivers.
- ``read``, ``write``: the two directions.
- ``part_file``: a file in the making, that no killed worker leaves behind.
"""

from __future__ import annotations

from hedra_provider.storage.paths import local_path, worker_of
from hedra_provider.storage.read import errors_of_reading, open_source
from hedra_provider.storage.write import PART_SUFFIX, check_destination, named_destination, write_whole

__all__ = [
    "PART_SUFFIX",
    "check_destination",
    "errors_of_reading",
    "local_path",
    "named_destination",
    "open_source",
    "worker_of",
    "write_whole",
]
