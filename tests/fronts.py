"""What stands between a client and the sandbox on loopback: an HTTP proxy, and a server that speaks TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import selectors
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

HOST = "hedra.invalid"
"""A name that nothing resolves: only a proxy can lead there."""


class Front(ThreadingHTTPServer):
    """
    Hands every request on to the sandbox, whatever host it names; a context manager.

    :param origin: Scheme, host and port of the sandbox.
    :param tls: Speak TLS with this.
    :param tunnel_to: Host and port that a CONNECT leads to, wherever it asked to go.
    """

    daemon_threads = True

    def __init__(
        self, origin: str, *, tls: ssl.SSLContext | None = None, tunnel_to: tuple[str, int] | None = None
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.origin, self.tls, self.tunnel_to = origin, tls, tunnel_to
        self.seen: list[str] = []
        """Method and target of each request, as they came over the wire."""
        self.keys: list[str | None] = []
        """The API key that came with each."""
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server_port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls is None:
            super().finish_request(request, client_address)
            return
        # Not in the accepting thread: a client that rejects the certificate must not delay the others.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            with self.tls.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, client_address)

    def __enter__(self) -> Front:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Front

    def do_GET(self) -> None:
        self._note()
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        path = urlsplit(self.path)._replace(scheme="", netloc="").geturl()
        # No certificates: reading those of the system takes longer than the request.
        with httpx.Client(trust_env=False, verify=False) as client:
            answer = client.get(self.server.origin + path, headers=headers)
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def do_CONNECT(self) -> None:
        self._note()
        assert self.server.tunnel_to is not None
        with socket.create_connection(self.server.tunnel_to, timeout=5) as there:
            self.send_response(200)
            self.end_headers()
            relay(self.connection, there)
        self.close_connection = True

    def _note(self) -> None:
        self.server.seen.append(f"{self.command} {self.path}")
        self.server.keys.append(self.headers["X-API-Key"])

    def log_message(self, *args: Any) -> None:
        pass


def relay(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes on in both directions until either end closes."""
    with selectors.DefaultSelector() as selector, contextlib.suppress(ConnectionError):
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not received:
                    return
                key.data.sendall(received)


class Authority:
    """
    A certificate authority that no system knows.

    :param folder: Where to put its bundle.
    """

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.bundle = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.bundle)

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server that is 127.0.0.1 and ``HOST``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert("127.0.0.1", HOST).configure_cert(context)
        return context


class AuthorityWithoutKeyIdentifiers:
    """
    An authority whose certificates name no key, as in-house authorities issue them; trustme always names it.

    :param folder: Where to put its files.
    """

    def __init__(self, folder: Path) -> None:
        self._key, self._name = _new_key(), _name("An authority of these tests")
        certificate = _builder(self._name, self._name, self._key)
        certificate = certificate.add_extension(x509.BasicConstraints(True, None), True)
        self._folder, self.bundle = folder, folder / "ca-without-key-identifiers.pem"
        self.bundle.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server that is 127.0.0.1."""
        key = _new_key()
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = _builder(_name("127.0.0.1"), self._name, key).add_extension(names, False)
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        chain = self._folder / "server-without-key-identifiers.pem"
        chain.write_bytes(
            key.private_bytes(encoding, form, serialization.NoEncryption())
            + _pem(certificate.sign(self._key, hashes.SHA256()))
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


def check_certificates_as_python_3_13(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the contexts of ``ssl.create_default_context`` as strict as Python 3.13 makes them."""
    create = ssl.create_default_context

    def create_strict(*args: Any, **options: Any) -> ssl.SSLContext:
        context = create(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_strict)


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
