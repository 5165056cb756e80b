"""``python -m hedra_provider.sandbox``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from hedra_provider.sandbox.options import DUPLICATE_ID_MODES, Options


def main(arguments: list[str] | None = None) -> int:
    """Run a sandbox until SIGTERM or SIGINT.

    :param arguments: command line; None takes the process's.
    :return: exit code: 0 after a signal, 1 when it cannot start, 2 for a bad command line.
    """
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        options = Options(
            host=given.host,
            port=given.port,
            api_key=given.api_key,
            workspaces=dict(given.workspace or ()),
            credits=given.credits,
            seconds=given.seconds,
            queue_seconds=given.queue_seconds,
            max_parallel=given.max_parallel,
            rate=given.rate,
            duplicate_id=given.duplicate_id,
            batch=given.batch,
            media=given.media,
            url_seconds=given.url_seconds,
            max_bytes=given.max_bytes,
            max_kept_bytes=given.max_kept_bytes,
            state=given.state,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        from hedra_provider.sandbox.backdoor import is_loopback
        from hedra_provider.sandbox.media import MissingMediaLibraries
        from hedra_provider.sandbox.server import serve
    except ImportError as error:
        print(f"The sandbox needs {error.name}: install airflow-provider-hedra[sandbox].", file=sys.stderr)
        return 1

    if not is_loopback(options.host):
        print(
            f"Warning: the sandbox listens on {options.host}, where other machines may reach it: whoever has "
            "the key can fill its disk and memory. The back door stays open to this machine only.",
            file=sys.stderr,
        )

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await serve(options, lambda ready: print(ready.line(), flush=True), stop)

    try:
        asyncio.run(run())
    except (MissingMediaLibraries, OSError) as error:
        print(f"The sandbox could not start: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hedra_provider.sandbox",
        description="A local Hedra: API v2 with real files, no key and no costs. Prints one JSON line when "
        "it listens: base_url, api_key, and connection, which is what AIRFLOW_CONN_HEDRA_DEFAULT takes.",
    )
    default = Options()
    add = parser.add_argument
    add("--host", default=default.host, help="address to listen on (default: %(default)s)")
    add("--port", type=int, default=0, help="port of the API (default: a free one)")
    add("--api-key", help="the key that is accepted (default: a new one)")
    add(
        "--workspace",
        action="append",
        type=_workspace,
        metavar="ID=CREDITS",
        help="a workspace; may be repeated",
    )
    add("--credits", type=int, help="credits of the default pool (default: 10000, or 0 with --workspace)")
    add(
        "--seconds",
        type=float,
        default=default.seconds,
        help="time a generation takes (default: %(default)s)",
    )
    add(
        "--queue-seconds",
        type=float,
        default=default.queue_seconds,
        help="time it is queued (default: %(default)s)",
    )
    add("--max-parallel", type=int, metavar="N", help="generations at once, else 429 (default: no limit)")
    add("--rate", type=float, metavar="N", help="API requests per second, else 429 (default: no limit)")
    add("--duplicate-id", choices=DUPLICATE_ID_MODES, default=default.duplicate_id,
        help="what a generation_id answers that exists (default: %(default)s)")  # fmt: skip
    add("--no-batch", dest="batch", action="store_false", help="GET /generations ignores ids")
    add(
        "--no-media",
        dest="media",
        action="store_false",
        help="placeholder files; needs no PyAV and no Pillow",
    )
    add(
        "--url-seconds",
        type=int,
        default=default.url_seconds,
        help="lifetime of file URLs (default: %(default)s)",
    )
    add(
        "--max-bytes", type=int, default=default.max_bytes, help="disk space for files (default: %(default)s)"
    )
    add(
        "--max-kept-bytes",
        type=int,
        default=default.max_kept_bytes,
        help="memory for assets and generations, about (default: %(default)s)",
    )
    add("--state", type=Path, metavar="FILE", help="keep everything over a restart in FILE and FILE.files/")
    return parser


def _workspace(text: str) -> tuple[str, int]:
    name, found, credits = text.rpartition("=")
    if not found or not name or not credits.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ID=CREDITS")
    return name, int(credits)


if __name__ == "__main__":
    sys.exit(main())
