"""``python -m hedra_provider.sandbox``: see ``--help``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import fields
from typing import Any

from hedra_provider.sandbox.options import Options


def main(arguments: list[str] | None = None) -> int:
    """Run a sandbox until SIGTERM or SIGINT.

    :param arguments: command line; default None: that of the process.
    :return: exit code: 0 after a signal, 1 if the sandbox cannot start, 2 for a wrong command line.
    """
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    given["workspaces"] = dict(given["workspaces"] or ())
    try:
        options = Options(**given)
    except ValueError as error:
        parser.error(str(error))
    try:
        from hedra_provider.sandbox.loopback import is_loopback
        from hedra_provider.sandbox.media import MissingMediaLibraries
        from hedra_provider.sandbox.server import serve
    except ImportError as error:
        print(f"The sandbox needs {error.name}: install airflow-provider-hedra[sandbox].", file=sys.stderr)
        return 1

    if not is_loopback(options.host):
        print(
            f"Warning: the sandbox listens on {options.host}, so other machines can reach it. Everyone who "
            "has the key can fill its disk and memory. The back door stays open to this machine only.",
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
        description="A local Hedra: API v2 with real files, without a key and without costs. When it "
        "listens, it prints one JSON line: base_url, api_key, and connection, which is the value for "
        "AIRFLOW_CONN_HEDRA_DEFAULT.",
    )
    for option in fields(Options):
        settings: dict[str, Any] = {"dest": option.name, "default": option.default, **option.metadata}
        flag = settings.pop("flag", "--" + option.name.replace("_", "-"))
        if option.default is not None and "action" not in settings:
            settings["help"] += " (default: %(default)s)"
        parser.add_argument(flag, **settings)
    return parser


if __name__ == "__main__":
    sys.exit(main())
