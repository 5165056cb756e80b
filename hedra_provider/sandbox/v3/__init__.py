"""API v3 of the sandbox: jobs, upload handles, US dollars, webhooks.

It is written from Hedra's published schema. Its modules, each of which imports only those below it::

    routes                                      the paths
    service                                     what Hedra does: uploads, submits, jobs
    webhooks                                    signed deliveries
    answers  inputs  submits                    Hedra's schema; rules; idempotency keys
    memory                                      all that it remembers
    records  paging                             plain records; cursors
    models  sniffing                            models and prices; media types
"""
