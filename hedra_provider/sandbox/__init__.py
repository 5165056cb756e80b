"""A local Hedra: the API v2 that makes avatar videos, with real files and without a key.

Run it with ``python -m hedra_provider.sandbox``, or in tests through :mod:`hedra_provider.testing`. It is
written from Hedra's documentation and published schema alone, and shares no code with the rest of the
project: a mistake there shows here. Assumptions beyond the documentation can be switched, see
:class:`hedra_provider.sandbox.options.Options`.

Its modules, each of which imports only those below it::

    __main__                         the command line
    server                           the two origins, from start to stop
    app  backdoor  files             what each origin serves
    service  gate  uploads           the work; what every request passes before; multipart bodies
    answers  validation  studio      Hedra's schema; the rules; threads for media
    signing  faults  measuring  video
    state  store  sound  picture  speech
    options  catalogue  rejections  media  request_body
"""
