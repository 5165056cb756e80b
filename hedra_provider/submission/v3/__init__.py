"""
Paid once on API v3, where a submit can't choose the id of its job.

On v3 only Hedra knows the id of a job before the answer to the submit arrives. So the provider keeps a
durable record of each submit, outside the worker, and writes it before the submit.

- ``record``: the record of one attempt: intents, sends, jobs. As JSON; request bodies are encrypted.
- ``keys``: the ``Idempotency-Key`` of the n-th submit of a task run.
- ``merge``: the records of all attempts as one view.
- ``decide``: from the view to the next action. Pure.
- ``search``: whether a job in Hedra's list may be one whose answer was lost. Pure.
- ``outcome``: how a send ended.
- ``journal``: the own record of an attempt: each change is durable before the next request.
- ``submit``: carries the actions out.
- ``store``: where records are kept.

==================================================  =========================================================
The n-th submit of the task run's key               Action
==================================================  =========================================================
no record                                           upload, write the intent, submit
its job is running or complete, paid by this        adopt, whatever the request is by now
attempt group
its job is running or complete, the same request    adopt
its job is running or complete, another request     the next n
its job failed                                      the next n
every send was rejected                             the next n
no send was accepted (429, no connection), and the  the next n
replay window is over
outcome unknown, in the replay window               send the recorded bytes again with the same key
outcome unknown, 409 or the window is over          search Hedra's list: none, twice: the next n; else stop
outcome unknown, of another attempt group with      the next n, with a warning
another request
==================================================  =========================================================
"""
