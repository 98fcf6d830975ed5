"""The reports as the command line writes them: which file gets what, also when the target is broken."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from leasehold.cli import main
from tests.impl.wrong import HERE


def check(name: str, folder: Path, *words: str) -> Result:
    common = ["check", HERE + name, "--cases", str(folder / "cases"), "--budget", "10s", "--seed", "1", "--max-findings", "1"]
    return CliRunner().invoke(main, [*common, "--deadline", "0.3s", *words])


@pytest.mark.parametrize(("name", "code", "verdict"), [("TwoOwners", 1, "VIOLATES"), ("Nonsense", 3, "BROKEN")])
def test_every_format_at_once(name: str, code: int, verdict: str, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("# Before\n", encoding="utf-8")
    files = ["--html", str(tmp_path / "r.html"), "--junit", str(tmp_path / "r.xml"), "--json", str(tmp_path / "r.json")]
    result = check(name, tmp_path, *files, "--markdown", str(summary))
    assert result.exit_code == code
    assert result.stdout.lstrip().startswith(verdict)
    html = (tmp_path / "r.html").read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert verdict in html
    root = ElementTree.fromstring((tmp_path / "r.xml").read_text("utf-8"))
    assert (root.get("failures"), root.get("errors")) == (("1", "0") if code == 1 else ("0", "1"))
    added = summary.read_text("utf-8")
    assert added.startswith("# Before\n## ")
    assert verdict in added
    assert f'"verdict": "{verdict.lower()}"' in (tmp_path / "r.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("option", "begins"), [("--html", "<!doctype html>"), ("--junit", "<?xml"), ("--markdown", "## "), ("--json", "{")]
)
@pytest.mark.parametrize("name", ["TwoOwners", "Nonsense"])
def test_standard_output_has_the_report_and_nothing_else(name: str, option: str, begins: str, tmp_path: Path) -> None:
    result = check(name, tmp_path, option, "-")
    assert result.stdout.startswith(begins)
    assert "VIOLATES  " not in result.stdout
    assert result.stdout.rstrip().endswith({"--html": "</html>", "--junit": "</testsuites>", "--json": "}"}.get(option, ""))
    assert result.stderr


def test_a_file_that_cannot_be_written_does_not_change_the_verdict(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here: A FULL DISK WAS NOT TRIED")
    result = check("TwoOwners", tmp_path, "--html", str(full))
    assert result.exit_code == 1
    assert "The report could not be written" in result.stderr
