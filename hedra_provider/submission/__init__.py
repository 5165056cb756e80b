"""
A credit is spent once: ids, plans, submits, prices. Knows no Airflow.

- ``identity``: the ids of generations and assets, made from the task run, without storage.
- ``plan``: decides for each id whether its generation is adopted, skipped or submitted.
- ``submit``: executes plans. After a submit whose outcome is unknown it polls before it submits again.
- ``compare``: whether an existing generation has the same request.
- ``pricing``: what a request may cost. ``rates``: the prices of v3, which its catalogue lacks. ``budget``:
  whether the limits and the balance allow it, and whether the bill agrees with the estimate.
- ``v3``: the same on API v3, where only Hedra knows the id of a job before its submit is answered.

==================================================  =========================================================
Generation under the id                             Action
==================================================  =========================================================
none                                                submit
running or complete, the same request               adopt
running or complete, another request, paid by this  adopt, and log the fields that differ
attempt group
running or complete, another request, paid before   try the next id
a clear or by another task
failed                                              try the next id
==================================================  =========================================================
"""
