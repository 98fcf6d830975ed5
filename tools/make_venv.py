"""Makes .venv, or brings it up to date: what every goal of the Makefile does first. Standard library only.

The stamp is written last. An environment without one is half made, one that was moved or whose interpreter is gone does not
run, one of another Python is not what was asked for: all three are made anew. A changed lock or package only updates it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".stamp"
LOCK = ROOT / "requirements.lock"


def wanted() -> dict[str, str]:
    """What the stamp of a current environment says. Linter and test settings don't count."""
    import tomllib  # noqa: PLC0415 - an older Python must get as far as the message about its age

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    package = [project["build-system"], project["project"], project["tool"]["hatch"]]
    contents = LOCK.read_bytes() + json.dumps(package, sort_keys=True).encode()
    return {
        "root": str(ROOT),
        "python": ".".join(map(str, sys.version_info[:2])),
        "contents": hashlib.sha256(contents).hexdigest(),
    }


def found() -> dict[str, str]:
    """What the stamp says; nothing, where there is none or the environment does not run."""
    try:
        stamp: dict[str, str] = json.loads(STAMP.read_text("utf-8"))
        subprocess.run([PYTHON, "-c", ""], check=True, capture_output=True)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return {}
    return stamp


def create() -> None:
    """An empty environment, with pip in it where this Python can do that (Debian's alone cannot)."""
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", VENV], check=False, capture_output=True).returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", VENV], check=True)


def install(*arguments: str) -> None:
    """pip install, with the environment's pip or else with ours."""
    inside = subprocess.run([PYTHON, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0
    pip = [str(PYTHON), "-m", "pip"] if inside else [sys.executable, "-m", "pip", "--python", str(PYTHON)]
    quiet = ["--quiet", "--no-input", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *quiet, *arguments], check=True, cwd=ROOT, stdin=subprocess.DEVNULL)


def main() -> int | str:
    """Exit status, or what to say on failing."""
    if sys.version_info < OLDEST:
        return f"leasehold needs Python 3.11 or later, and this is {sys.version.split()[0]}: make PYTHON=... chooses another"
    with (ROOT / ".venv.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # two makes at once: the second finds the work done
        want, have = wanted(), found()
        if want == have:
            return 0
        try:
            if (have.get("root"), have.get("python")) != (want["root"], want["python"]):
                print("Making .venv (about a minute) ...", flush=True)
                create()
            else:
                print("Updating .venv ...", flush=True)
                STAMP.unlink()
            install("--require-hashes", "-r", str(LOCK))
            install("--no-deps", "--no-build-isolation", "--editable", ".")
        except subprocess.CalledProcessError as failure:
            return f"set-up failed ({failure.returncode}) in: {' '.join(map(str, failure.cmd))}"
        STAMP.write_text(json.dumps(want) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
