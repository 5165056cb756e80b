"""Make a virtual environment with pinned dependencies and this project in it, or find that it is up to date.

    python3 scripts/make_venv.py --venv .venv --constraints constraints/airflow-3.3.txt --extras sandbox

Standard library only, and written so that any Python from 3.6 can run it: an unsupported Python or a missing
module is to be named in one line, not by a traceback. What was installed is remembered in a stamp inside the
environment; extras add up from call to call, and changed pins replace installed versions.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SUPPORTED = ((3, 11), (3, 12), (3, 13), (3, 14))


def main() -> None:
    """Parse the command line, check what can be checked, install what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--venv", default=".venv", help="where to make it, relative to the checkout")
    parser.add_argument("--constraints", default="constraints/airflow-3.3.txt", help="a file of pins")
    parser.add_argument("--extras", default="sandbox,examples", help="of pyproject.toml, with commas")
    parser.add_argument("--below-python", default="3.15", help="the first Python without pins")
    options = parser.parse_args()

    below = tuple(int(part) for part in options.below_python.split("."))
    complain_about_python([version for version in SUPPORTED if version < below])
    complain_about_modules()

    venv = os.path.join(ROOT, options.venv)
    constraints = os.path.join(ROOT, options.constraints)
    extras = {extra for extra in options.extras.split(",") if extra}
    stamp = os.path.join(venv, ".stamp.json")
    base, pins = base_key(venv), pins_key(constraints)
    found = read_stamp(stamp)
    if found.get("base") != base or not works(venv):
        print("Making {} with Python {}.{}.{}".format(options.venv, *sys.version_info[:3]), flush=True)
        run([sys.executable, "-m", "venv", "--clear", venv], "making the virtual environment")
        found = {}
    extras |= set(found.get("extras", ()))
    if found.get("pins") == pins and extras == set(found["extras"]):
        return
    # An incomplete installation must not count as complete. Its packages are kept.
    write_stamp(stamp, {"base": base, "pins": None, "extras": found.get("extras", [])})
    install(venv, constraints, sorted(extras))
    write_stamp(stamp, {"base": base, "pins": pins, "extras": sorted(extras)})


def complain_about_python(supported: "list[tuple[int, int]]") -> None:
    """End with one line if this Python is too old or too new."""
    if sys.version_info[:2] in supported:
        return
    names = ["python{}.{}".format(*version) for version in supported]
    found = [name for name in names if answers(name)]
    hint = "this machine has {0}: make PYTHON={0}".format(found[-1]) if found else "install one of them"
    sys.exit(
        "Python {} ({}) does not fit: {} needed; {}".format(
            ".".join(str(part) for part in sys.version_info[:3]), sys.executable, " or ".join(names), hint
        )
    )


def complain_about_modules() -> None:
    """End with one line if this Python cannot make virtual environments, as Debian ships it."""
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            sys.exit(
                "{} has no module {}; on Debian or Ubuntu: apt-get install python3-venv".format(
                    sys.executable, module
                )
            )


def answers(name: str) -> bool:
    """Whether a Python of this name is there and runs (a version manager's shim may only complain)."""
    path = shutil.which(name)
    return path is not None and subprocess.run([path, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0


def base_key(venv: str) -> str:
    """Identify what an environment can't outlive: its Python, and its own place, which its scripts hold."""
    return repr((sys.version_info[:3], sys.base_prefix, venv))


def pins_key(constraints: str) -> str:
    """Identify what is to be installed."""
    digest = hashlib.sha256()
    for path in (os.path.join(ROOT, "pyproject.toml"), constraints):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def works(venv: str) -> bool:
    """Whether there is an environment whose Python still runs."""
    python = os.path.join(venv, "bin", "python")
    try:
        return subprocess.run([python, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def read_stamp(stamp: str) -> "dict[str, Any]":
    """Return what the stamp says, nothing where there is none."""
    try:
        with open(stamp) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_stamp(stamp: str, content: "dict[str, Any]") -> None:
    """Remember what is installed."""
    with open(stamp, "w") as file:
        json.dump(content, file)


def install(venv: str, constraints: str, extras: "list[str]") -> None:
    """Install the project with its extras, showing how far it is; pip's own words go to a log."""
    project = "{}[{}]".format(ROOT, ",".join(extras))
    command = [os.path.join(venv, "bin", "python"), "-m", "pip", "install", "--no-input"]
    command += ["--progress-bar", "off", "--constraint", constraints, "--editable", project]
    log = os.path.join(venv, "install.log")
    print("Installing Airflow and what goes with it, about 160 packages: 1 to 4 minutes", flush=True)
    started = time.time()
    seen = 0
    lines = []
    environment = {name: os.environ[name] for name in os.environ if name not in ("PIP_USER", "PYTHONHOME")}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, env=environment
    )
    with open(log, "w") as file:
        for line in process.stdout or ():
            file.write(line)
            lines.append(line)
            if line.startswith("Collecting "):
                seen += 1
                if seen % 20 == 0:
                    report(started, "{} packages fetched".format(seen))
            elif line.startswith("Installing collected"):
                report(started, "{} packages fetched, installing".format(seen))
    if process.wait() != 0:
        sys.stderr.write("".join(lines[-15:]))
        sys.exit("pip failed; its whole output is in {}".format(os.path.relpath(log, ROOT)))
    report(started, "installed")


def report(started: float, text: str) -> None:
    """Print one line of progress with the seconds since the start."""
    print("  {:4.0f} s  {}".format(time.time() - started, text), flush=True)


def run(command: "list[str]", purpose: str) -> None:
    """Run a command that is not expected to fail."""
    if subprocess.run(command).returncode != 0:
        sys.exit("{} failed: {}".format(purpose, " ".join(command)))


if __name__ == "__main__":
    main()
