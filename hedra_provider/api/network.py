"""TLS certificates and proxies, checked before anything is sent.

httpx takes both from its arguments and from the environment: ``SSL_CERT_FILE``, ``SSL_CERT_DIR``,
``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` (httpx's documentation, "Environment
variables"). httpx ignores an invalid value, or raises a bare exception of httpx, ssl or the system. This
module raises a :class:`HedraConfigurationError` that names the field or the variable.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import httpx

from hedra_provider.api.errors import (
    REJECTED_CERTIFICATE_REMEDY,
    STRICT_CERTIFICATE_REMEDY,
    HedraConfigurationError,
)
from hedra_provider.api.redaction import clean, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
MAX_PORT = 65_535

STRICT_CHECKS = range(80, 95)
"""OpenSSL's errors of certificates that only X509_V_FLAG_X509_STRICT rejects (openssl/x509_vfy.h), e.g. 85:
Missing Authority Key Identifier. ``ssl.create_default_context`` sets the flag from Python 3.13 on."""

_BUNDLE = "the path of a CA bundle: a file with certificates in PEM"
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
"""The file names that OpenSSL reads in a folder of certificates; `openssl rehash` makes them."""


def ssl_context(verify: bool | str) -> ssl.SSLContext:
    """
    Return the TLS settings, from a cache: making them blocks an event loop for 50 ms.

    :param verify: True checks certificates with the CAs of ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else with
        those of certifi. False checks none. A text is the path of a CA bundle.
    :return: A context for httpx.
    :raises HedraConfigurationError: If the bundle, or the file or folder of a variable, can't be used.
    """
    if verify is False:
        return _unverified()
    if isinstance(verify, str):
        return _verified("Verify TLS (verify)", f"Give true, false, or {_BUNDLE}.", verify, None)
    # The order of httpx.create_ssl_context().
    if file := os.environ.get("SSL_CERT_FILE"):
        return _verified("SSL_CERT_FILE", f"Remove the variable, or give it {_BUNDLE}.", file, None)
    if folder := os.environ.get("SSL_CERT_DIR"):
        return _verified("SSL_CERT_DIR", "Remove the variable, or correct it.", None, folder)
    import certifi

    return _verified("The CA bundle of certifi", "Install certifi again.", certifi.where(), None)


def _verified(name: str, remedy: str, file: str | None, folder: str | None) -> ssl.SSLContext:
    try:
        if folder is not None:
            _require_hashed_folder(folder)
        # A part of the cache key, so that a triggerer that runs for weeks reads a replaced bundle.
        version = None if file is None else (os.stat(file).st_mtime_ns, os.stat(file).st_size)  # noqa: PTH116
        return _context(file, folder, version)
    except (OSError, ValueError) as error:
        key_log = os.environ.get("SSLKEYLOGFILE")
        if key_log and getattr(error, "filename", None) == key_log:
            name, file, remedy = "SSLKEYLOGFILE", key_log, "Remove the variable, or name a writable file."
        what = clean(getattr(error, "strerror", None) or str(error))
        raise HedraConfigurationError(
            f"{name}: {clean(str(file or folder))} can't be used: {what}.", param="verify", remedy=remedy
        ) from error


def _require_hashed_folder(folder: str) -> None:
    # OpenSSL reports no missing folder and no wrong file names. It rejects every server's certificate then.
    names = (entry.name for entry in Path(folder).iterdir())
    if not any(map(_HASHED_NAME.fullmatch, names)):
        raise ValueError("it holds no certificate that OpenSSL finds; `openssl rehash` makes the names")


@lru_cache(maxsize=8)
def _context(file: str | None, folder: str | None, version: tuple[int, int] | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file, capath=folder)


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    return httpx.create_ssl_context(verify=False)


def rejected_certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """
    Find the rejected certificate that led to an error: httpx names it among the causes only.

    :param error: What httpx raised.
    :return: The error of :mod:`ssl`; None if no certificate was rejected.
    """
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error


def certificate_remedy(error: BaseException | None) -> str | None:
    """
    Say what to do about a certificate that was rejected.

    :param error: What httpx raised.
    :return: None if no certificate was rejected.
    """
    rejected = rejected_certificate(error)
    if rejected is None:
        return None
    return STRICT_CERTIFICATE_REMEDY if rejected.verify_code in STRICT_CHECKS else REJECTED_CERTIFICATE_REMEDY


def proxy_fault(url: str) -> tuple[str, str] | None:
    """
    Check the URL of a proxy.

    :param url: The proxy's URL.
    :return: The end of a sentence about the fault, and the remedy; None without a fault. Both hold no part of
        the URL, because it may have a password.
    """
    example = "Give e.g. http://proxy.example:3128, user and password URL-encoded."
    scheme = url.partition("://")[0].lower()
    if "://" not in url:
        return "names no scheme", f"Put http:// before it. {example}"
    if scheme not in PROXY_SCHEMES:
        return "is not an http(s) URL", example
    try:
        parsed = httpx.Proxy(url).url
        # A password that is not URL-encoded may be read as the port or the path.
        readable = bool(parsed.host) and parsed.path in ("", "/") and not re.search(r"[\s?#\\]", url)
    except (httpx.InvalidURL, ValueError):
        readable = False
    if not readable:
        return "can't be read as a URL", example
    if parsed.port is not None and not 1 <= parsed.port <= MAX_PORT:
        return f"has a port that is not between 1 and {MAX_PORT}", example
    if scheme.startswith("socks") and find_spec("socksio") is None:
        what = "is a SOCKS proxy, which needs the package socksio"
        return what, 'Install "httpx[socks]" in every component of Airflow, or give an HTTP proxy.'
    return None


def require_usable(base_url: str, proxy: str | None) -> None:
    """
    Reject a base URL or a proxy that httpx can't use.

    :param base_url: The URL of the API.
    :param proxy: The URL of a proxy; None without one.
    :raises HedraConfigurationError: If one is invalid; the error names it.
    """
    try:
        readable = httpx.URL(base_url).scheme in ("http", "https")
    except (httpx.InvalidURL, ValueError, TypeError):
        readable = False
    if not readable:
        raise HedraConfigurationError(
            f"base_url: {shown(base_url)} is not an http(s) URL.", param="base_url", remedy="Correct it."
        )
    fault = proxy_fault(proxy) if proxy else None
    if fault:
        raise HedraConfigurationError(f"The proxy {fault[0]}.", param="proxy", remedy=fault[1])


@contextmanager
def readable_environment() -> Iterator[None]:
    """
    Check the proxy variables around a block that creates an httpx client.

    :raises HedraConfigurationError: If httpx can't use them; the error names the variable.
    """
    proxies = getproxies()
    for scheme in ("http", "https", "all"):
        url = proxies.get(scheme)
        # httpx puts http:// before a URL without a scheme.
        fault = proxy_fault(url if "://" in url else f"http://{url}") if url else None
        if fault:
            name = _name_of(f"{scheme}_proxy")
            raise HedraConfigurationError(
                f"The environment variable {name} {fault[0]}.", param=name, remedy=fault[1]
            )
    try:
        yield
    except (httpx.InvalidURL, ValueError) as error:
        name = _name_of("no_proxy")
        raise HedraConfigurationError(
            f"The environment variable {name} can't be read: {clean(str(error))}. It is "
            f"{shown(os.environ.get(name))}.",
            param=name,
            remedy="Give host names, IPv4 addresses or IPv6 addresses, separated by commas.",
        ) from error


def _name_of(variable: str) -> str:
    """Return the name of the variable that is set; lower case has precedence, as in urllib."""
    return next((name for name in (variable, variable.upper()) if os.environ.get(name)), variable.upper())


def environment_proxy(url: str) -> str | None:
    """
    Return the name of the environment variable whose proxy is used for a URL.

    :param url: The URL of an HTTP request.
    :return: The name; None without a proxy.
    """
    parts = httpx.URL(url)
    proxies = getproxies()
    if proxy_bypass(parts.host):
        return None
    return next((_name_of(f"{one}_proxy") for one in (parts.scheme, "all") if proxies.get(one)), None)
