"""The back door for tests: ledger, clock, faults, reset, key. Only processes of this machine may use it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hedra_provider.sandbox.faults import Fault, Faults
from hedra_provider.sandbox.gate import BACK_DOOR, Ledger
from hedra_provider.sandbox.loopback import is_loopback
from hedra_provider.sandbox.request_body import TooLong, parse_json, read_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from hedra_provider.sandbox.service import Hedra
    from hedra_provider.sandbox.v3.service import HedraV3

_MAX_BODY_BYTES = 64 * 1024**2


class BackDoor:
    """See the module.

    :param hedra: the sandbox's state.
    :param v3: what it knows about API v3.
    :param ledger: the requests.
    :param faults: the faults; changed in place.
    :param keys: accepted keys; changed in place.
    :param on_reset: called at a reset.
    """

    def __init__(
        self,
        hedra: Hedra,
        v3: HedraV3,
        ledger: Ledger,
        faults: Faults,
        keys: set[bytes],
        on_reset: Callable[[], None],
    ) -> None:
        self._hedra = hedra
        self._v3 = v3
        self._ledger = ledger
        self._faults = faults
        self._keys = keys
        self._first_keys = frozenset(keys)
        self._on_reset = on_reset

    def routes(self) -> list[Route]:
        """Return its routes on the API's origin."""
        table: list[tuple[str, str, Callable[[Any], Any]]] = [
            ("GET", "ledger", self._get_ledger),
            ("POST", "reset", self._reset),
            ("GET", "clock", self._get_clock),
            ("POST", "clock", self._advance),
            ("GET", "faults", self._get_faults),
            ("PUT", "faults", self._put_faults),
            ("PUT", "key", self._put_key),
        ]
        return [Route(f"{BACK_DOOR}/{name}", _guarded(do), methods=[method]) for method, name, do in table]

    def _get_ledger(self, raw: Any) -> Any:
        state = self._hedra.state
        state.settle()
        pools = state.pools.values()
        return {
            "requests": self._ledger.rows(),
            "requests_total": self._ledger.total,
            "submissions": state.submissions,
            "credits": {
                "remaining": sum(pool.available for pool in pools),
                "used": sum(pool.used for pool in pools),
                "refunded": sum(pool.refunded for pool in pools),
            },
            **self._v3.ledger(),
        }

    def _reset(self, raw: Any) -> Any:
        self._hedra.reset()
        self._faults.faults = []
        self._keys.clear()
        self._keys |= self._first_keys
        self._ledger.clear()
        self._on_reset()
        return {}

    def _get_clock(self, raw: Any) -> Any:
        return {
            "now": self._hedra.state.clock.now(),
            "offset_seconds": self._hedra.state.clock.offset_seconds,
        }

    def _advance(self, raw: Any) -> Any:
        seconds = raw.get("advance_seconds") if isinstance(raw, dict) else None
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise ValueError('the clock takes {"advance_seconds": number}')
        self._hedra.state.clock.advance(seconds)
        return self._get_clock(raw)

    def _get_faults(self, raw: Any) -> Any:
        return [asdict(fault) for fault in self._faults.faults]

    def _put_faults(self, raw: Any) -> Any:
        if not isinstance(raw, list):
            raise ValueError("faults are a list")
        self._faults.faults = [Fault.from_json(row) for row in raw]
        return self._get_faults(raw)

    def _put_key(self, raw: Any) -> Any:
        key = raw.get("api_key") if isinstance(raw, dict) else None
        if not isinstance(key, str) or not key:
            raise ValueError('the key is changed by {"api_key": "..."}')
        # The key of the other API stays.
        self._keys -= {one for one in self._keys if (b":" in one) == (":" in key)}
        self._keys.add(key.encode())
        return {}


def _is_from_here(request: Request) -> bool:
    """Return whether the request comes from a process of this machine, and not from a web page in its
    browser.

    A page can reach the sandbox by a name that resolves to 127.0.0.1 (``Host`` has that name), or by the
    address (``Origin`` has the page's name).
    """
    if not is_loopback(request.client.host if request.client else ""):
        return False
    named = [f"//{host}" for host in request.headers.getlist("host")]
    try:
        hosts = [urlsplit(url).hostname or "" for url in named + request.headers.getlist("origin")]
    except ValueError:
        return False
    return bool(named) and all(map(is_loopback, hosts))


def _guarded(do: Callable[[Any], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        if not _is_from_here(request):
            return JSONResponse({"detail": "The back door is open to this machine only."}, 403)
        try:
            body = await read_body(request, _MAX_BODY_BYTES)
            return JSONResponse(do(parse_json(body) if body else None))
        except TooLong:
            return JSONResponse({"detail": f"The body has more than {_MAX_BODY_BYTES} bytes."}, 413)
        except ValueError as error:
            return JSONResponse({"detail": str(error)}, 422)

    return endpoint
