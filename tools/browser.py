"""A headless Chromium, driven by its command line alone: renders a page, tells what its console said, takes pictures of it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""What the program may be called."""

SECONDS = 120.0
"""How long a page may take; a cold start on a busy machine takes tens of seconds."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)

_CONSOLE = re.compile(r"^\[[^]]*CONSOLE[^]]*\] (.*)$", re.MULTILINE)


@frozen
class Seen:
    """What a browser made of a page: its elements, and the lines on its console."""

    dom: str
    console: tuple[str, ...]


def find() -> str | None:
    """The browser on this machine, if there is one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


def find_or_install() -> str | None:
    """The browser; where root may install Debian's, it does. None: there is none to be had."""
    with (Path(tempfile.gettempdir()) / f"leasehold-browser-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes want it at once
        if find() is None and os.getuid() == 0 and shutil.which("apt-get"):
            env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"]):
                subprocess.run(["apt-get", *words], env=env, check=False, capture_output=True, timeout=600)  # noqa: S607
        return find()


def look(browser: str, page: Path) -> Seen:
    """Render a page."""
    done = _run(browser, page, "--dump-dom")
    return Seen(done.stdout, tuple(_CONSOLE.findall(done.stderr)))


def picture(browser: str, page: Path, to: Path, width: int, height: int, *, dark: bool = False) -> None:
    """Draw the first screen of a page as PNG."""
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    _run(browser, page, f"--screenshot={to}", f"--window-size={width},{height}", *theme)


def printed(browser: str, page: Path, to: Path) -> None:
    """Print a page as PDF."""
    _run(browser, page, f"--print-to-pdf={to}", "--no-pdf-header-footer")


def _run(browser: str, page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory(prefix="leasehold-browser-", ignore_cleanup_errors=True) as profile:
        command: Sequence[str] = [browser, *FLAGS, f"--user-data-dir={profile}", *words, page.absolute().as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True, errors="replace")
