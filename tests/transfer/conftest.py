"""The fixtures of the client: either client, and accounts."""

from __future__ import annotations

from tests.api.conftest import account, driver, forgetful  # noqa: F401
