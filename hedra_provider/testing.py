"""The sandbox in tests: a class, a pytest fixture and a marker.

In ``conftest.py``::

    pytest_plugins = ["hedra_provider.testing"]

In a test::

    def test_pays_once(hedra_sandbox):
        run_my_dag()  # hedra_default is the sandbox
        assert len(hedra_sandbox.submissions) == 1

    @pytest.mark.hedra_sandbox(seconds=60, workspaces={"team": 100})
    def test_waits(hedra_sandbox):
        hedra_sandbox.advance(60)
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import httpx

    from hedra_provider.sandbox.server import Ready

CONNECTION_VARIABLE = "AIRFLOW_CONN_HEDRA_DEFAULT"

_START_SECONDS = 30.0
_KEPT_BY_A_RESET = {"port", "state", "max_bytes"}


class Sandbox:
    """A local Hedra in a thread of this process; a context manager.

    Generations are complete at the first poll, unless ``seconds`` or ``queue_seconds`` are given; then
    :meth:`advance` moves its clock. The parameters are the options of ``python -m hedra_provider.sandbox``
    (:class:`hedra_provider.sandbox.options.Options`) with the same defaults, but for the two times. It always
    listens on loopback.

    :param api: which API has a key: ``"2"``, ``"3"`` or ``"both"`` (default). With ``"3"``,
        :attr:`connection`, :attr:`api_key` and :attr:`base_url` are those of API v3; with ``"both"``, those
        of API v2.
    :param api_key: the only key that is accepted; default None: a new one.
    :param api_key_v3: the only key that API v3 accepts, ``<key_id>:<secret>``; default None: a new one.
    :param workspaces: credits of each workspace by its id; :attr:`connection` names the first one; default
        None.
    :param credits: credits of the default pool; default None: 10,000, or 0 with ``workspaces``.
    :param seconds: how long a generation takes after the queue, in seconds of the sandbox's clock; default 0.
    :param queue_seconds: how long a generation is queued, in seconds of the sandbox's clock; default 0.
    :param max_parallel: generations at once; one more is answered 429; default None: no limit.
    :param rate: API requests per second of the sandbox's clock; more are answered 429; default None: no
        limit.
    :param duplicate_id: answer to a ``generation_id`` that exists: ``conflict`` (default), ``return``,
        ``error`` or ``ignore``.
    :param usd: balance of API v3, in US dollars; default 100.
    :param requests_per_window: requests to API v3 in a window; one more is answered 429; default 60,000,
        which no test reaches; 0: no limit and no ``X-RateLimit`` headers. Hedra has 60 in 60 seconds.
    :param window_seconds: length of that window, in seconds of the sandbox's clock; default 60.
    :param idempotency: where API v3 reads the idempotency key: ``header`` (default), ``body``, ``both`` or
        ``ignore``.
    :param key_hours: after how many hours of its clock an idempotency key is forgotten; default 24.
    :param key_form: accepted idempotency keys: ``any`` (default) or ``uuid``.
    :param compare: how the bodies of submits with one idempotency key are compared: ``bytes`` (default) or
        ``json``.
    :param burn_rejected_keys: whether a rejected submit uses up its idempotency key; default False.
    :param two_at_once: answer to a submit while another one with its idempotency key is worked on:
        ``conflict`` (default), ``wait`` or ``both``.
    :param submit_seconds: how long a submit to API v3 is worked on, in seconds of real time; default 0.
    :param lapsed_replay: answer to a repeated submit whose upload handles have expired: ``replay`` (default)
        or ``expired``.
    :param batch: whether ``GET /generations`` uses ``ids``; default True.
    :param media: make real media; default True. False gives placeholder files, rejects no upload, and needs
        neither PyAV nor Pillow.
    :param url_seconds: lifetime of file URLs, in seconds of the sandbox's clock; default 3600.
    :param max_bytes: disk space for files, in bytes; default 8 GiB.
    :param max_kept_bytes: memory for assets and generations, in bytes, roughly; default 512 MiB.
    :param state: file that saves everything for the next start; default None: nothing is saved.
    :param port: port of the API; default 0: a free one.
    """

    def __init__(
        self,
        *,
        api: str | int = "both",
        api_key: str | None = None,
        api_key_v3: str | None = None,
        workspaces: Mapping[str, int] | None = None,
        credits: int | None = None,
        seconds: float = 0.0,
        queue_seconds: float = 0.0,
        max_parallel: int | None = None,
        rate: float | None = None,
        duplicate_id: str = "conflict",
        usd: float = 100.0,
        requests_per_window: int = 60_000,
        window_seconds: float = 60.0,
        idempotency: str = "header",
        key_hours: float = 24.0,
        key_form: str = "any",
        compare: str = "bytes",
        burn_rejected_keys: bool = False,
        two_at_once: str = "conflict",
        submit_seconds: float = 0.0,
        lapsed_replay: str = "replay",
        batch: bool = True,
        media: bool = True,
        url_seconds: int = 3600,
        max_bytes: int = 8 * 1024**3,
        max_kept_bytes: int = 512 * 1024**2,
        state: Path | str | None = None,
        port: int = 0,
    ) -> None:
        # Imported here: a conftest names this module, so every test run imports it.
        from hedra_provider.sandbox.options import Options

        self._options = Options(
            port=port,
            api=str(api),
            api_key=api_key,
            api_key_v3=api_key_v3,
            workspaces=workspaces,
            credits=credits,
            seconds=seconds,
            queue_seconds=queue_seconds,
            max_parallel=max_parallel,
            rate=rate,
            duplicate_id=duplicate_id,
            usd=usd,
            requests_per_window=requests_per_window,
            window_seconds=window_seconds,
            idempotency=idempotency,
            key_hours=key_hours,
            key_form=key_form,
            compare=compare,
            burn_rejected_keys=burn_rejected_keys,
            two_at_once=two_at_once,
            submit_seconds=submit_seconds,
            lapsed_replay=lapsed_replay,
            batch=batch,
            media=media,
            url_seconds=url_seconds,
            max_bytes=max_bytes,
            max_kept_bytes=max_kept_bytes,
            state=Path(state) if state is not None else None,
        )
        self._thread: threading.Thread | None = None
        self._listening = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready: Ready | None = None
        self._error: BaseException | None = None
        self._client: httpx.Client | None = None
        self._state_path: tempfile.TemporaryDirectory[str] | None = None

    @property
    def base_url(self) -> str:
        """Base URL of the API, as an Airflow connection's host."""
        return self._up.base_url

    @property
    def files_url(self) -> str:
        """Base URL of the other origin, which serves the files."""
        return self._up.files_url

    @property
    def api_key(self) -> str:
        """The key that it was started with."""
        return self._up.api_key

    @property
    def connection(self) -> str:
        """JSON for ``AIRFLOW_CONN_HEDRA_DEFAULT``: of API v2, or of API v3 with ``api="3"``."""
        return self.connection_v3 if self._options.api == "3" else self._up.connection

    @property
    def base_url_v3(self) -> str:
        """Base URL of API v3."""
        return self._v3("base_url_v3")

    @property
    def api_key_v3(self) -> str:
        """The key of API v3 that it was started with."""
        return self._v3("api_key_v3")

    @property
    def connection_v3(self) -> str:
        """JSON of a connection to API v3. Its ``state_path`` is a temporary folder until :meth:`stop`."""
        fields = json.loads(self._v3("connection_v3"))
        if self._state_path is None:
            self._state_path = tempfile.TemporaryDirectory(prefix="hedra-state-path-")
        return json.dumps(
            {**fields, "extra": {**fields.get("extra", {}), "state_path": self._state_path.name}}
        )

    def _v3(self, name: str) -> str:
        value: str | None = getattr(self._up, name)
        if value is None:
            raise RuntimeError('This sandbox has no API v3: start it with api="3" or api="both".')
        return value

    def start(self) -> Sandbox:
        """Start it and wait until it listens.

        :raises RuntimeError: if it does not listen within 30 seconds.
        """
        import httpx

        self._listening.clear()
        self._ready = self._error = None
        self._thread = threading.Thread(target=self._run, name="hedra-sandbox", daemon=True)
        self._thread.start()
        if not self._listening.wait(_START_SECONDS):
            raise RuntimeError(f"The sandbox did not start within {_START_SECONDS:g} seconds.")
        if self._error is not None:
            raise self._error
        # Without a proxy of the environment and without certificates: the sandbox is on this machine.
        self._client = httpx.Client(
            base_url=self._up.back_door,
            trust_env=False,
            timeout=30,
            verify=False,  # noqa: S501  reading the system's certificates takes as long as the rest of the start
        )
        return self

    def stop(self) -> None:
        """Stop it. Its files are deleted, unless ``state`` was given."""
        if self._client is not None:
            self._client.close()
            self._client = self._ready = None
        if self._thread is not None:
            if self._loop is not None and self._stop is not None and self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_START_SECONDS)
            self._thread = None
        if self._state_path is not None:
            self._state_path.cleanup()
            self._state_path = None

    def __enter__(self) -> Sandbox:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def ledger(self) -> dict[str, Any]:
        """Return what it received: ``requests`` and ``requests_total``, ``submissions`` and ``credits``
        of API v2, ``submissions_v3`` and ``usd`` of API v3.

        A request has ``method``, ``path`` (without ``/web-app/public``, but with ``/v3``), ``status``
        (None: no answer was sent), ``at`` (seconds since 1970 by its clock), ``user_agent``, ``connection``,
        ``origin`` (``api`` or ``files``), ``query``, and ``has_key``: whether an API key was sent.
        """
        answer: dict[str, Any] = self._back_door("GET", "ledger")
        return answer

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Every accepted submit and every duplicate: ``generation_id, type, workspace, credits, request, at,
        duplicate_of``.

        Each variation of a batch is a row. A duplicate that was not charged has 0 ``credits``.
        """
        rows: list[dict[str, Any]] = self.ledger()["submissions"]
        return rows

    @property
    def submissions_v3(self) -> list[dict[str, Any]]:
        """Every submit to API v3 that was accepted, replayed, or in conflict with its idempotency key.

        A row has ``job_id, model, idempotency_key, place`` (``header``, ``body`` or None), ``replay_of`` (the
        job whose first answer was sent again, or None), ``conflict`` (whether it was answered 409), ``usd``
        (charged; 0 for a replay and a conflict), ``body`` (as sent; upload handles are replaced by
        ``file:<id>``), ``body_sha256`` (of the bytes) and ``at``.
        """
        rows: list[dict[str, Any]] = self.ledger()["submissions_v3"]
        return rows

    def requests(self, method: str | None = None, path: str | None = None) -> list[dict[str, Any]]:
        """Return requests of the ledger.

        :param method: only with this method, e.g. ``"POST"``; default None: any.
        :param path: only with this path, literal or with ``{id}``: ``"/generations/{id}/status"``,
            ``"/files/{id}"``, ``"/v3/models/{model}"``, ``"/v3/jobs/{id}"``; default None: any.
        """
        from hedra_provider.sandbox.faults import template

        return [
            row
            for row in self.ledger()["requests"]
            if (method is None or row["method"] == method)
            and (path is None or path in (row["path"], template(row["path"])))
        ]

    def reset(self) -> None:
        """Forget everything: assets, generations, credits, faults, the ledger, the clock. The key stays."""
        self._back_door("POST", "reset")
        if self._state_path is not None:
            # Its records are about jobs that exist no more. The folder stays: connections name it.
            for entry in Path(self._state_path.name).iterdir():
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def advance(self, seconds: float) -> None:
        """Move its clock.

        :param seconds: how far; negative moves it back.
        :raises ValueError: if the clock would leave the years 1971 to 7990.
        """
        self._back_door("POST", "clock", {"advance_seconds": seconds})

    def faults(self, *faults: dict[str, Any]) -> None:
        """Replace the faults; without arguments, nothing goes wrong any more.

        :param faults: :class:`hedra_provider.sandbox.faults.Fault` has the keys.
        :raises ValueError: for an unknown key or a wrong value.
        """
        self._back_door("PUT", "faults", list(faults))

    def change_key(self, api_key: str) -> None:
        """Accept only this key, until :meth:`reset`.

        :param api_key: the new key; with a colon, of API v3, else of API v2. The other API's key stays.
        """
        self._back_door("PUT", "key", {"api_key": api_key})

    @property
    def _up(self) -> Ready:
        if self._ready is None:
            raise RuntimeError("The sandbox is not running: use it as a context manager, or call start().")
        return self._ready

    def _back_door(self, method: str, name: str, body: Any = None) -> Any:
        self._up  # noqa: B018  raises a clear error if it is not running
        assert self._client is not None
        answer = self._client.request(method, name, json=body)
        if answer.status_code != 200:
            raise ValueError(answer.json()["detail"])
        return answer.json()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  start() raises it in its own thread
            self._error = error
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        from hedra_provider.sandbox.server import serve

        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await serve(self._options, self._on_ready, self._stop)

    def _on_ready(self, ready: Ready) -> None:
        self._ready = ready
        self._listening.set()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "hedra_sandbox(**options): start the hedra_sandbox fixture of this test with these options"
    )


class Sandboxes:
    """The running sandboxes of a test session, one for each set of options; a context manager."""

    def __init__(self) -> None:
        self._running: dict[str, Sandbox] = {}

    def get(self, **options: Any) -> Sandbox:
        """Return a sandbox with these options: a new one, or a running one after a reset.

        :param options: parameters of :class:`Sandbox`, but for those that a reset does not restore.
        """
        # Sorted by name. The order of workspaces stays: the connection names the first one.
        wanted = repr(sorted(options.items()))
        if wanted not in self._running:
            self._running[wanted] = Sandbox(**options).start()
        else:
            self._running[wanted].reset()
        return self._running[wanted]

    def __enter__(self) -> Sandboxes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sandbox in self._running.values():
            sandbox.stop()
        self._running.clear()


@pytest.fixture(scope="session")
def hedra_sandboxes() -> Iterator[Sandboxes]:
    """The sandboxes of the whole session; use :func:`hedra_sandbox`, which takes one of them."""
    with Sandboxes() as sandboxes:
        yield sandboxes


@pytest.fixture
def hedra_sandbox(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, hedra_sandboxes: Sandboxes
) -> Iterator[Sandbox]:
    """A new or freshly reset sandbox behind the connection ``hedra_default``.

    The marker ``hedra_sandbox(**options)`` gives its parameters, those of :class:`Sandbox`. Tests with the
    same options share one, reset before each test, unless they name an option that a reset does not restore:
    ``port``, ``state`` or ``max_bytes``.
    """
    marker = request.node.get_closest_marker("hedra_sandbox")
    options = marker.kwargs if marker is not None else {}
    with contextlib.ExitStack() as stack:
        own = not _KEPT_BY_A_RESET.isdisjoint(options)
        sandbox = stack.enter_context(Sandbox(**options)) if own else hedra_sandboxes.get(**options)
        monkeypatch.setenv(CONNECTION_VARIABLE, sandbox.connection)
        yield sandbox
