"""A local Hedra: the API v2 that makes avatar videos, with real files and without a key.

Run it with ``python -m hedra_provider.sandbox``, or in tests through :mod:`hedra_provider.testing`. It is
written from Hedra's documentation and published schema alone, and shares no code with the rest of the
project: a mistake there shows here. Assumptions beyond the documentation can be switched, see
:class:`hedra_provider.sandbox.options.Options`.

Its modules, each of which imports only those below it::

    __main__                                    the command line
    server                                      both origins, from start to stop
    app  backdoor  files                        what the origins serve
    service                                     what Hedra does
    answers  studio                             Hedra's schema; threads for media
    gate  uploads  validation  signing          ledger and faults; multipart; rules; file URLs
    measuring  video                            lengths and sizes; the finished video
    state  store  sound  picture                memory; disk; decoders
    records  speech                             plain records; synthesised speech
    catalogue  clock  faults  media  options  rejections  request_body
"""
