"""Clips from a table: one talking-avatar video for each row, each paid for once.

The functions are the steps between the operators. Tasks call them in this order::

    from hedra_provider.tables import read_table          # the rows, all columns checked
    from hedra_provider.tables import media_files         # the files to upload, each once
    from hedra_provider.tables import avatar_requests     # the arguments of HedraAvatarVideoOperator
    from hedra_provider.tables import pending_requests    # the requests that no earlier run finished
    from hedra_provider.tables import keep_failure        # on_failure_callback of the mapped operator
    from hedra_provider.tables import write_manifest      # the outcome of every row
    from hedra_provider.tables import fail_if_rows_failed

The example DAG ``hedra_clips_from_table`` uses all of them. A table is foreign data: all its faults are
reported at once, and nothing in it is rendered as a template.

Files: ``parse`` (text to rows), ``columns`` (the checks of a row), ``reading``, ``requests``, ``manifest``.
"""

from hedra_provider.tables.manifest import fail_if_rows_failed, keep_failure, write_manifest
from hedra_provider.tables.reading import read_table
from hedra_provider.tables.requests import avatar_requests, media_files, pending_requests

__all__ = [
    "avatar_requests",
    "fail_if_rows_failed",
    "keep_failure",
    "media_files",
    "pending_requests",
    "read_table",
    "write_manifest",
]
