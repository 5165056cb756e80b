"""Runs the two origins of a sandbox: the API, and the files on another port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from hedra_provider.sandbox import media
from hedra_provider.sandbox.app import api_app
from hedra_provider.sandbox.backdoor import BackDoor
from hedra_provider.sandbox.faults import Faults
from hedra_provider.sandbox.files import file_app
from hedra_provider.sandbox.gate import PREFIX, Connections, Gate, Ledger, RateLimit, Watch
from hedra_provider.sandbox.service import Hedra
from hedra_provider.sandbox.signing import Signer
from hedra_provider.sandbox.state import State
from hedra_provider.sandbox.store import FileStore, StateFile
from hedra_provider.sandbox.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hedra_provider.sandbox.options import Options


@dataclass(frozen=True)
class Ready:
    """Addresses and key of a running sandbox."""

    base_url: str
    api_key: str
    connection: str
    files_url: str

    def line(self) -> str:
        """Return the line that ``python -m hedra_provider.sandbox`` prints."""
        return json.dumps({"base_url": self.base_url, "api_key": self.api_key, "connection": self.connection})


async def serve(options: Options, ready: Callable[[Ready], None], stop: asyncio.Event) -> None:
    """Run a sandbox.

    :param options: how it behaves.
    :param ready: called when both origins listen.
    :param stop: ends it when set. The state file and its files remain, if there is one; all else is deleted.
    :raises hedra_provider.sandbox.media.MissingMediaLibraries: if media are on and a library is missing.
    :raises OSError: if the port is in use.
    """
    if options.media:
        media.require_libraries()
    saved = StateFile(options.state)
    before = saved.read()
    api_socket = _listen(options.host, options.port)
    file_socket = _listen(options.host, 0)
    store = FileStore(_files_folder(options.state), options.max_bytes)
    state = State(options)
    studio = Studio(store, media_enabled=options.media)
    api_key = options.api_key or (before or {}).get("api_key") or f"sk_sandbox_{secrets.token_hex(16)}"
    secret = (before or {}).get("secret") or secrets.token_hex(16)

    def dump() -> dict[str, Any]:
        return {**state.dump(), "api_key": api_key, "secret": secret}

    signer = Signer(secret, state.clock, options.url_seconds)
    signer.base_url = _url(options.host, file_socket)
    hedra = Hedra(state, store, studio, signer, lambda: saved.save(dump))
    if before is not None:
        state.load(before)
        hedra.resume()

    ledger, faults, keys = Ledger(), Faults(), {api_key.encode()}
    limit = RateLimit(options.rate, state.clock)
    api_connections, file_connections = Connections(), Connections()
    api = api_app(hedra)
    api.router.routes.extend(BackDoor(hedra, ledger, faults, keys, limit.clear).routes())
    watch = Watch(ledger, faults, state.clock)
    api_gate = Gate(api, "api", watch, api_connections, keys=keys, limit=limit)
    file_gate = Gate(file_app(hedra, signer), "files", watch, file_connections)

    servers = [_server(api_gate, api_connections), _server(file_gate, file_connections)]
    tasks = [
        asyncio.create_task(server.serve(sockets=[sock]))
        for server, sock in zip(servers, (api_socket, file_socket), strict=True)
    ]
    try:
        while not all(server.started for server in servers):
            if failed := [task for task in tasks if task.done()]:
                failed[0].result()
                raise RuntimeError("A server of the sandbox ended during its start.")
            await asyncio.sleep(0.002)
        ready(_ready(options, _url(options.host, api_socket) + PREFIX, api_key, signer.base_url))
        await stop.wait()
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        studio.close()
        saved.save(dump, at_once=True)
        store.close()
        api_socket.close()
        file_socket.close()


def _ready(options: Options, base_url: str, api_key: str, files_url: str) -> Ready:
    connection: dict[str, Any] = {"conn_type": "hedra", "host": base_url, "password": api_key}
    if options.workspaces:
        connection["extra"] = {"workspace_id": next(iter(options.workspaces))}
    return Ready(base_url, api_key, json.dumps(connection), files_url)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _url(host: str, sock: socket.socket) -> str:
    # Nobody can connect to the address that means all interfaces.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


def _files_folder(state: Path | None) -> Path | None:
    return None if state is None else state.with_name(state.name + ".files")


class _Server(uvicorn.Server):
    """A server that handles no signals: the sandbox has two servers, and may run in a thread."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(app: Gate, connections: Connections) -> _Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level=logging.ERROR,
        access_log=False,
        lifespan="off",
        ws="none",
        # The client's address decides about the back door, so no header may change it.
        proxy_headers=False,
        # The gate adds the sandbox's own time.
        date_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        backlog=2048,
    )
    config.load()
    config.http_protocol_class = _tracked(config.http_protocol_class, connections)
    return _Server(config)


def _tracked(protocol: Any, connections: Connections) -> Any:
    """Extend a protocol class (h11's or httptools') so that it enters its connection in a table."""

    class Tracked(protocol):  # type: ignore[misc,unused-ignore]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            # There is no peer name if the client has closed the connection already.
            self._peer = (transport.get_extra_info("peername") or ("", 0))[:2]
            connections.transports[self._peer] = transport
            # asyncio leaves Nagle's algorithm on for a socket without a protocol number, which our listening
            # sockets are: every answer would wait 40 ms for an acknowledgement.
            with contextlib.suppress(OSError):
                transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def connection_lost(self, error: Exception | None) -> None:
            connections.transports.pop(self._peer, None)
            super().connection_lost(error)

    return Tracked
