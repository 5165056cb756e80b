"""
The user's files, on local disk or object storage.

- ``paths``: checks paths and URIs, and rejects what is not a regular file or folder.
- ``object_storage``: opens URIs with Airflow, and unifies the errors of their drivers.
- ``read``: opens files. ``source``: checks a file to upload.
- ``write``: writes files, whole or not at all. ``result``: stores a result of Hedra.
- ``part_file``: a file while it is written. A killed worker leaves none behind.
- ``lineage``: reports the files to Airflow's hook lineage.
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
