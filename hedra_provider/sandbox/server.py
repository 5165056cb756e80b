"""Runs the two origins of a sandbox: the API, and the files on another port."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import socket
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import uvicorn

from hedra_provider.sandbox import media
from hedra_provider.sandbox.app import api_app
from hedra_provider.sandbox.backdoor import BackDoor
from hedra_provider.sandbox.doors import PREFIX_V2, PREFIX_V3, DoorV2, DoorV3, RateLimit, WindowLimit
from hedra_provider.sandbox.faults import Faults
from hedra_provider.sandbox.files import file_app
from hedra_provider.sandbox.gate import BACK_DOOR, AsgiApp, Connections, Gate, Ledger, Watch
from hedra_provider.sandbox.service import Hedra
from hedra_provider.sandbox.signing import Signer
from hedra_provider.sandbox.state import State
from hedra_provider.sandbox.store import FileStore, StateFile
from hedra_provider.sandbox.studio import Studio
from hedra_provider.sandbox.v3.routes import api_v3
from hedra_provider.sandbox.v3.service import HedraV3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hedra_provider.sandbox.options import Options


@dataclass(frozen=True)
class Ready:
    """Addresses and keys of a running sandbox.

    ``base_url``, ``api_key`` and ``connection`` are those of API v2, or of API v3 if it runs alone. The
    fields of API v3 are None if it has no key.
    """

    base_url: str
    api_key: str
    connection: str
    files_url: str
    back_door: str
    base_url_v3: str | None = None
    api_key_v3: str | None = None
    connection_v3: str | None = None

    def line(self) -> str:
        """Return the line that ``python -m hedra_provider.sandbox`` prints."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps({name: fields[name] for name in fields if name not in ("files_url", "back_door")})


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
    keys = _Keys.of(options, before or {})
    secret = (before or {}).get("secret") or secrets.token_hex(16)
    seed = (before or {}).get("webhook_seed") or secrets.token_hex(32)

    def dump() -> dict[str, Any]:
        ours = {"api_key": keys.v2, "api_key_v3": keys.v3, "secret": secret, "webhook_seed": seed}
        return {**state.dump(), **ours, "v3": v3.memory.dump()}

    signer = Signer(secret, state.clock, options.url_seconds)
    signer.base_url = _url(options.host, file_socket)
    hedra = Hedra(state, store, studio, signer, lambda: saved.save(dump))
    v3 = HedraV3(state, store, studio, signer, bytes.fromhex(seed), lambda: saved.save(dump))
    if before is not None:
        state.load(before)
        hedra.resume()
        # A version that knew only API v2 has saved nothing of v3.
        if "v3" in before:
            v3.memory.load(before["v3"])
            v3.resume()

    ledger, faults = Ledger(), Faults()
    accepted = {key.encode() for key in (keys.v2, keys.v3) if key is not None}
    limit = RateLimit(options.rate, state.clock)
    window = WindowLimit(options.requests_per_window, options.window_seconds, state.clock)
    api_connections, file_connections = Connections(), Connections()
    api = api_app(hedra)

    def on_reset() -> None:
        v3.memory.clear()
        limit.clear()
        window.clear()

    api.router.routes.extend(BackDoor(hedra, v3, ledger, faults, accepted, on_reset).routes())
    watch = Watch(ledger, faults, state.clock)
    both = _both(api, api_v3(v3))
    door, door_v3 = DoorV2(accepted, limit), DoorV3(accepted, window)
    api_gate = Gate(both, "api", watch, api_connections, door=door, door_v3=door_v3)
    file_gate = Gate(file_app(hedra, v3, signer), "files", watch, file_connections)

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
        ready(_ready(options, _url(options.host, api_socket), keys, signer.base_url))
        await stop.wait()
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks, return_exceptions=True)
        await v3.webhooks.stop()
        studio.close()
        saved.save(dump, at_once=True)
        store.close()
        api_socket.close()
        file_socket.close()


@dataclass(frozen=True)
class _Keys:
    """The keys of both APIs; None: that API has none, and lets no request in."""

    v2: str | None
    v3: str | None

    @classmethod
    def of(cls, options: Options, before: dict[str, Any]) -> _Keys:
        v2 = v3 = None
        if options.api != "3":
            v2 = options.api_key or before.get("api_key") or f"sk_sandbox_{secrets.token_hex(16)}"
        if options.api != "2":
            given = options.api_key if options.api == "3" else None
            new = f"sandbox_{secrets.token_hex(6)}:{secrets.token_hex(16)}"
            v3 = given or options.api_key_v3 or before.get("api_key_v3") or new
        return cls(v2, v3)


def _ready(options: Options, origin: str, keys: _Keys, files_url: str) -> Ready:
    v2 = v3 = None
    if keys.v2 is not None:
        extra = {"workspace_id": next(iter(options.workspaces))} if options.workspaces else None
        v2 = (origin + PREFIX_V2, keys.v2, _connection(origin + PREFIX_V2, keys.v2, extra))
    if keys.v3 is not None:
        v3 = (origin + PREFIX_V3, keys.v3, _connection(origin + PREFIX_V3, keys.v3, None))
    # One of them is there: the options have no choice without both.
    first = v2 or v3 or ("", "", "")
    return Ready(*first, files_url, f"{origin}{BACK_DOOR}", *(v3 or ()))


def _connection(base_url: str, api_key: str, extra: dict[str, str] | None) -> str:
    connection: dict[str, Any] = {"conn_type": "hedra", "host": base_url, "password": api_key}
    return json.dumps(connection if extra is None else {**connection, "extra": extra})


def _both(v2: AsgiApp, v3: AsgiApp) -> AsgiApp:
    """Send each request to the API of its path."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        is_v3 = scope["path"] == PREFIX_V3 or scope["path"].startswith(PREFIX_V3 + "/")
        await (v3 if is_v3 else v2)(scope, receive, send)

    return app


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
