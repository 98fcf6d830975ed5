"""``make bench``: all benchmarks, each as one interleaved run."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from rich.console import Console

from leasehold.stores.postgres_server import private_server
from tests.bench import drivers, growth, histories, postgres, sqlite, wire, writers


def main() -> None:
    """Run and print them all."""
    began = time.perf_counter()
    console = Console(highlight=False)
    console.width = max(console.width, 110)
    console.print("Rates and times are of this machine, now, and of whatever else it does. What counts: the ratios, and counts.\n")
    with tempfile.TemporaryDirectory(prefix="leasehold-bench-") as name:
        directory = Path(name)
        drivers.report(console)
        wire.report(console)
        histories.report(console)
        sqlite.report_syncs(console, directory)
        sqlite.report(console, directory)
        writers.report(console, directory)
        growth.report(console, directory)
    with private_server() as server:
        postgres.report_trips(console, server)
        postgres.report(console, server)
        postgres.report_growth(console, server)
    console.print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
