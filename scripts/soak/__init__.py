"""DAGs in a loop, against a sandbox that fails and in an Airflow whose processes are killed: `make soak`.

`chaos` decides what happens when, from a seed; `storm` does it to a `testbed.crashable_airflow`; `evidence`
reads what is left, and `judgement` says whether ledger, metadata database and files agree.
"""
