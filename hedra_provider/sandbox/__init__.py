"""A local Hedra: the APIs v2 and v3 that make avatar videos, with real files and without a key.

Run it with ``python -m hedra_provider.sandbox``, or in tests through :mod:`hedra_provider.testing`. It is
written from Hedra's documentation and published schema alone, and shares no code with the rest of the
project: a mistake there shows here. Assumptions beyond the documentation can be switched, see
:class:`hedra_provider.sandbox.options.Options`.

Its modules, each of which imports only those below it::

    __main__                                    the command line
    server                                      both origins, from start to stop
    app  backdoor  files                        what the origins serve
    service  v3                                 what Hedra does; all of API v3
    answers  studio                             Hedra's schema; threads for media
    gate  uploads  validation  signing          ledger and faults; multipart; rules; file URLs
    measuring  video                            lengths and sizes; the finished video
    doors  state  store  sound  picture         keys and rate limits; memory; disk; decoders
    envelope  records  speech                   errors of API v3; plain records; synthesised speech
    catalogue  clock  faults  loopback  media  options  rejections  request_body
"""
