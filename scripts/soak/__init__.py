"""DAGs in a loop, against a sandbox that fails and in an Airflow whose processes are killed: `make soak`.

`chaos` decides what happens when, from a seed; `mortal` is the Airflow that it happens to; `evidence` reads
what is left, and `judgement` says whether ledger, metadata database and files agree.
"""
