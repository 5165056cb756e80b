"""Poll generations until they end. Knows no Airflow and, except for calls, no HTTP.

======================  ====================================================================================
:mod:`.wait`            What each answer means for a wait: the one policy, as a table in its docstring
:mod:`.balance`         The same for a wait for credits
:mod:`.blocking`        Drives one wait in place: a task on its worker
:mod:`.planners`        Which planner a connection gets: that of its API version
:mod:`.base_planner`    What planners share: their interface, and how a decision reaches a wait
:mod:`.planner`         v2: drives many waits together, chooses the generations of the next request
:mod:`.job_planner`     v3: the same, by pages of jobs and within a budget of requests
:mod:`.tracked`         A generation in a planner, and the table of its states
:mod:`.due_queue`       The order in which generations are polled
:mod:`.batches`         v2: what ``GET /generations`` can do, and how ids share requests
:mod:`.page_round`      v3: when to request the next page of jobs
:mod:`.list_health`     v3: whether the list of jobs works
:mod:`.poll`            v2: one request of the planner
:mod:`.job_poll`        v3: one request of the planner
:mod:`.pacing`          How long to pause between polls: estimate, interval, back-off
:mod:`.rate_limit`      How fast requests may follow each other after a 429
:mod:`.request_budget`  v3: how many requests a minute polls take, and what is left to workers
:mod:`.progress`        When a state is an update, and its line for a log
======================  ====================================================================================

The triggerer's side, with tasks and futures, is :mod:`hedra_provider.poller`.
"""
