"""The HTML report in a browser: it draws what it should, in both themes, narrow and printed, and its console stays empty."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leasehold.report.html import broken_html, check_html
from tests.impl.report.conftest import NASTY, Check
from tools import browser

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> str:
    found = browser.find_or_install()
    if found is None:
        pytest.skip("there is no Chromium, and it could not be installed: THE HTML REPORT WAS NOT LOOKED AT IN A BROWSER")
    return found


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["TwoOwners", "NastyIds", "LiesAboutItsTier", "Unlocked", "half_done"])
def test_a_page_is_drawn_and_the_console_stays_empty(checked: Check, program: str, tmp_path: Path, name: str) -> None:
    one = checked(name)
    seen = browser.look(program, written(tmp_path / "report.html", check_html(one.report, one.violations, one.asked)))
    assert seen.console == ()
    assert f'<h3 id="finding-1">Finding 1 of 1: <span class="did">{one.violations[0].finding.requirement}</span></h3>' in seen.dom
    assert ('<svg xmlns="http://www.w3.org/2000/svg" class="timeline"' in seen.dom) == (name != "LiesAboutItsTier")


def test_a_broken_target(program: str, tmp_path: Path) -> None:
    seen = browser.look(program, written(tmp_path / "report.html", broken_html(NASTY, NASTY, 0.1, 1, NASTY)))
    assert seen.console == ()
    assert "mend this first" in seen.dom


def test_twin_the_console_is_heard(program: str, tmp_path: Path) -> None:
    seen = browser.look(
        program, written(tmp_path / "twin.html", "<!doctype html><p>x</p><script>throw new Error('a twin')</script>")
    )
    assert any("a twin" in line for line in seen.console)


def test_twin_the_policy_of_the_page_keeps_a_script_from_running(checked: Check, program: str, tmp_path: Path) -> None:
    one = checked("TwoOwners")
    smuggled = check_html(one.report, one.violations, one.asked).replace("<h1>", "<script>document.title='owned'</script><h1>", 1)
    seen = browser.look(program, written(tmp_path / "smuggled.html", smuggled))
    assert any("Content Security Policy" in line for line in seen.console)
    assert "<title>owned" not in seen.dom


def test_pictures_in_both_themes_and_narrow(checked: Check, program: str, tmp_path: Path) -> None:
    one = checked("TwoOwners")
    page = written(tmp_path / "report.html", check_html(one.report, one.violations, one.asked))
    drawn = {}
    for name, width, dark in (("light", 1200, False), ("dark", 1200, True), ("narrow", 400, False)):
        path = tmp_path / f"{name}.png"
        browser.picture(program, page, path, width, 900, dark=dark)
        drawn[name] = path.read_bytes()
        assert drawn[name][:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(drawn[name][16:20]) == width
        assert len(drawn[name]) > 10_000, "next to nothing was drawn"
    assert drawn["light"] != drawn["dark"]


def test_it_prints(checked: Check, program: str, tmp_path: Path) -> None:
    one = checked("TwoOwners")
    page = written(tmp_path / "report.html", check_html(one.report, one.violations, one.asked))
    browser.printed(program, page, tmp_path / "report.pdf")
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 4 <= len(re.findall(rb"/Type */Page\b", pdf)) <= 20
