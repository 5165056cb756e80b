"""Poll generations until they end. Knows no Airflow and, except for calls, no HTTP.

====================  ======================================================================================
:mod:`.wait`          What each answer means for a wait: the one policy, as a table in its docstring
:mod:`.balance`       The same for a wait for credits
:mod:`.blocking`      Drives one wait in place: a task on its worker
:mod:`.planner`       Drives many waits together: chooses the generations of the next request
:mod:`.tracked`       A generation in the planner, and the table of its states
:mod:`.due_queue`     The order in which generations are polled
:mod:`.batches`       What ``GET /generations`` can do, and how ids share requests
:mod:`.poll`          One request of the planner
:mod:`.pacing`        How long to pause between polls: estimate, interval, back-off
:mod:`.rate_limit`    How fast requests may follow each other after a 429
:mod:`.progress`      When a state is an update, and its line for a log
====================  ======================================================================================

The triggerer's side, with tasks and futures, is :mod:`hedra_provider.poller`.
"""
