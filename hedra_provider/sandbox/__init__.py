"""A local Hedra: the API v2 that makes avatar videos, with real files and without a key.

Run it with ``python -m hedra_provider.sandbox``, or in tests through :mod:`hedra_provider.testing`. It is
written from Hedra's documentation and published schema alone and shares no code with the rest of the project,
so that a mistake there shows here. What it assumes beyond the documentation is switchable: see
:class:`hedra_provider.sandbox.options.Options`.
"""
