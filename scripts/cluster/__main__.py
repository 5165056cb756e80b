"""A whole cluster on loopback, with the example pipelines and a sandbox, until Ctrl-C.

    python -m scripts.cluster

It needs Redis and PostgreSQL (`apt-get install redis-server postgresql`) and Linux.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from testbed.airflow_home import DAGS
from testbed.cluster_airflow import MACHINES, ClusterAirflow
from testbed.processes import free_port
from testbed.sandbox_process import sandbox


def main() -> int:
    """Run the cluster until it is interrupted."""
    parser = argparse.ArgumentParser(prog="make cluster", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dags", type=Path, default=DAGS, help="the DAGs folder; by default the examples")
    parser.add_argument("--port", type=int, default=8080, help="of the UI; another free one if it is taken")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long the sandbox takes for a video")
    parser.add_argument("--slots", type=int, default=2, help="tasks that one worker runs at a time")
    parser.add_argument("--quick", action="store_true", help="miss what died after seconds")
    options = parser.parse_args()
    # Both end the program by an exception, so that it stops what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="cluster-") as home,
            sandbox("--seconds", str(options.seconds)) as address,
        ):
            print(f"The sandbox, a local Hedra: {address.base_url}")
            print("Starting the cluster, about 30 s ...", flush=True)
            variables = {"AIRFLOW_CONN_HEDRA_DEFAULT": address.connection}
            with ClusterAirflow(
                Path(home),
                options.dags.resolve(),
                variables,
                quick=options.quick,
                slots=options.slots,
                port=free_port(options.port),
            ) as cluster:
                user, password = cluster.credentials()
                print(f"\n  {cluster.url}    user {user}    password {password}\n")
                print(f"{cluster.disk} is a disk of its own for each of {', '.join(MACHINES)}:")
                print(f"  {cluster.disk_of('*')}")
                for component in cluster.components:
                    print(f"  {component:14} process {cluster.pid(component)}")
                print(f"Logs: {cluster.log_file('*')}. Ctrl-C ends it and removes all of this.", flush=True)
                while True:
                    time.sleep(1)
                    cluster.check_alive()
    except KeyboardInterrupt:
        print("\nStopped.")
        return 0
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
