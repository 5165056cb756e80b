"""Hedra's API keys: which version of the API a key is for, and how an HTTP request carries it.

A v3 key is ``<key id>:<secret>``; a v2 key has no colon (observed).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hedra_provider.api.redaction import HiddenText
from hedra_provider.records import ApiVersion

if TYPE_CHECKING:
    import httpx

_SCHEME = "Key "


def version_of_key(api_key: str) -> ApiVersion:
    """
    Return the version of Hedra's API that a key is for: 3 for a key with a colon, else 2.

    :param api_key: The API key.
    """
    return 3 if ":" in api_key else 2


def key_headers(api_key: str, version: ApiVersion) -> dict[str, str]:
    """
    Return the header that carries a key: ``X-API-Key`` on v2, ``Authorization`` on v3.

    :param api_key: The API key.
    :param version: The version of the API that is called.
    """
    if version == 2:
        return {"X-API-Key": HiddenText(api_key)}
    return {"Authorization": HiddenText(f"{_SCHEME}{api_key}")}


def key_in(headers: Mapping[str, str]) -> str:
    """
    Return the key that the headers of an HTTP request carry; empty without one.

    :param headers: The headers.
    """
    authorization = headers.get("Authorization", "")
    if authorization.startswith(_SCHEME):
        return HiddenText(authorization.removeprefix(_SCHEME))
    return HiddenText(headers.get("X-API-Key", ""))


def version_of_address(request: httpx.Request) -> ApiVersion:
    """
    Return the version of Hedra's API that a request went to.

    Hedra's own paths decide. For another base URL, e.g. that of a proxy, the header of the key decides.

    :param request: The request.
    """
    path = request.url.path
    if path.startswith("/v3/"):
        return 3
    if path.startswith("/web-app/public/"):
        return 2
    return 3 if "Authorization" in request.headers else 2
