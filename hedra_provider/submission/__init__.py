"""
A credit is spent once: ids, plans, submits, prices. Knows no Airflow.

- ``identity``: the ids of generations and assets, made from the task run, without storage.
- ``plan``: what exists under an id decides whether it is adopted, passed over or submitted.
- ``submit``: carries plans out; after a submit whose outcome is unknown it asks, and never submits blind.
- ``compare``: whether an existing generation has the same request.
- ``pricing``, ``budget``: what a request may cost, and whether it may.

==================================================  =========================================================
what exists under the id                            then
==================================================  =========================================================
nothing                                             submit
running or complete, the same request               adopt
running or complete, another request, paid by this  adopt, and warn which fields differ
attempt group
running or complete, another request, paid before   the next id
a clear or by another task
failed                                              the next id
==================================================  =========================================================
"""
