"""A whole Airflow on loopback with the example pipelines and a sandbox, until Ctrl-C: `make airflow`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import httpx

from scripts.kept_sandbox import CONNECTION_ID, kept_sandbox, store_connection
from testbed.airflow_home import DAGS, ROOT
from testbed.local_airflow import LocalAirflow
from testbed.processes import free_port

HOME = ROOT / ".airflow" / "ui"


def _open_ui(options: argparse.Namespace) -> NoReturn:
    """Run Airflow and a sandbox that a restart finds again, until something ends them."""
    with kept_sandbox(
        HOME, port=options.sandbox_port, state=options.state.resolve(), seconds=options.seconds
    ) as address:
        is_v3 = options.api == "3"
        print(f"The sandbox, a local Hedra: {address.base_url_v3 if is_v3 else address.base_url}")
        if httpx.URL(address.base_url).port != options.sandbox_port:
            print(f"Port {options.sandbox_port} is taken: the sandbox listens on another one.")
        print("Starting Airflow, about 20 s ...", flush=True)
        with LocalAirflow(HOME, DAGS, port=free_port(options.port)) as airflow:
            if not store_connection(airflow, address, state_path=HOME / "submits" if is_v3 else None):
                print(
                    f"Connection {CONNECTION_ID} does not lead to the sandbox and stays as it is: the "
                    "examples may spend credits. Delete it in the UI to get the sandbox's again."
                )
            user, password = airflow.credentials()
            print(f"\n  {airflow.url}    user {user}    password {password}\n")
            print(f"Logs: {airflow.log_file('*').relative_to(ROOT)}. Ctrl-C ends it.", flush=True)
            while True:
                time.sleep(1)
                airflow.check_alive()


def main() -> int:
    """Run Airflow on this checkout's DAGs until it is interrupted."""
    parser = argparse.ArgumentParser(prog="make airflow", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--port", type=int, default=8080, help="of the UI; another free one if it is taken")
    parser.add_argument("--api", choices=("2", "3"), default="2", help="whose key hedra_default has")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the sandbox takes for a video")
    parser.add_argument(
        "--sandbox-port", type=int, default=8091, help="of the sandbox; another free one if it is taken"
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=HOME / "sandbox.state",
        help="where the sandbox keeps everything over a restart (default: %(default)s)",
    )
    options = parser.parse_args()
    # Both end the program by an exception, so that what was started is stopped; SIGINT, too, where it came
    # ignored, as a shell gives it to what runs in the background.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _open_ui(options)
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
