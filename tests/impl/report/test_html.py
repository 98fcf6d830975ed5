"""The HTML report: one file that is whole, loads nothing, hides nothing, and can be read by everybody."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

import pytest
from attrs import evolve

from leasehold.oracle.coverage import NotChecked
from leasehold.report.html import broken_html, check_html
from leasehold.report.template import SHEETS, style
from leasehold_model.policy import POINTS
from leasehold_model.requirements import REQUIREMENTS, STATEMENTS
from tests.impl.report.conftest import NAMES, NASTY, Check, Checked

INLINE = {"mark", "span", "strong", "code", "a"}
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """A page as its elements: balance, ids, references, headings, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.headings: list[int] = []
        self.feed(text)
        self.close()
        self.wrong += [f"{one} is not closed" for one in self.open]
        ids = Counter(attributes["id"] for _, attributes in self.elements if "id" in attributes)
        self.wrong += [f"id {one} is there {count} times" for one, count in ids.items() if count > 1]
        for tag, attributes in self.elements:
            for name in ("href", "src", "srcset", "action", "data", "poster", "style"):
                value = attributes.get(name)
                if value is not None and not (value.startswith("#") and value[1:] in ids):
                    self.wrong.append(f"{tag} {name}={value}")
            self.wrong += [f"{tag} {name}" for name in attributes if name.startswith("on")]
            for name in ("aria-labelledby", "aria-describedby"):
                self.wrong += [f"{tag} {name} names no {one}" for one in attributes.get(name, "").split() if one not in ids]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.wrong.append(f"{tag} has an attribute twice")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)
        if tag not in INLINE:
            self.text += " "
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"/{tag} closes nothing")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "script"}:
            self.text += data

    def tags(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def html(one: Checked) -> str:
    return check_html(one.report, one.violations, one.asked)


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_loads_nothing(checked: Check, name: str) -> None:
    text = html(checked(name))
    page = Page(text)
    assert page.wrong == []
    assert page.tags("script") == page.tags("link") == page.tags("img") == page.tags("iframe") == []
    assert "@import" not in text
    assert "url(" not in text
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b <= a + 1 for a, b in zip(page.headings, page.headings[1:], strict=False)), "a heading skips a level"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<p><b></p></b>", "/p closes nothing"),
        ("<p>", "p is not closed"),
        ("<p id=a></p><p id=a></p>", "id a is there 2 times"),
        ("<a href='http://example.invalid'></a>", "a href="),
        ("<a href='#nowhere'></a>", "a href="),
        ("<b onclick='x'></b>", "b onclick"),
        ("<b style='color: red'></b>", "b style="),
        ("<b aria-labelledby='no'></b>", "names no no"),
    ],
)
def test_twin_what_is_wrong_with_a_page_is_noticed(text: str, says: str) -> None:
    assert any(says in one for one in Page(text).wrong)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_says_what_broke(checked: Check, name: str) -> None:
    one = checked(name)
    finding = one.violations[0].finding
    text = flat(Page(html(one)).text)
    first = text.partition("What is broken What")[0] if "What is broken What" in text else text.partition("Finding 1")[0]
    assert "VIOLATES" in first
    assert f"breaks {finding.requirement}" in first
    assert flat(STATEMENTS[finding.requirement]) in first
    assert "What was not checked" in first
    assert one.asked.command in first
    assert "seed 1" in first
    story = text.partition("Finding 1")[2]
    assert "What happened" in story
    assert f"leasehold replay leasehold-cases/{finding.requirement}-1f2e.json {one.report.target}" in story
    assert "from leasehold.testing import replay_case" in story


def test_both_sides_of_the_wrong_step(checked: Check) -> None:
    text = html(checked("TwoOwners"))
    told = flat(Page(text).text)
    assert (
        "In step 2 bob asks for the session's lease (try_claim), and is answered wrongly: "
        "the answer is lease-2 of bob, fencing token 2, until +60000, not null (nothing granted, or nothing there)."
    ) in told
    assert "What should have happened null (nothing granted, or nothing there)" in told
    assert 'class="wrong"' in text
    assert "fencing token" in told.partition("Words of this run")[2]
    assert "sequenceDiagram" in told


def test_every_rule_has_its_state_as_a_word(checked: Check) -> None:
    one = checked("TwoOwners")
    told = flat(Page(html(one)).text).partition("Every rule")[2]
    for rule in REQUIREMENTS:
        assert re.search(rf"{rule.id} . (kept|broken|in doubt|never tested|not checked) {re.escape(flat(rule.statement))}", told), (
            rule.id
        )
    assert "LEASE-3 \u2717 broken" in told
    never = next(name for name, count in one.report.exercised.items() if count == 0)
    assert f"{never} ! never tested" in told
    for left in one.report.not_checked:
        assert left.what in told
        assert flat(left.why) in told


def test_every_policy_is_on_the_data_sheet(checked: Check) -> None:
    told = flat(Page(html(checked("TwoOwners"))).text).partition("Where the contract leaves stores a choice")[2]
    for point in POINTS:
        assert f"{point.id} {point.question}" in told
        assert ", ".join(point.options) in told


def test_tables_name_their_rows_and_columns(checked: Check) -> None:
    page = Page(html(checked("TwoOwners")))
    assert len(page.tags("caption")) == len(page.tags("table")) > 8
    assert page.tags("th")
    assert all(one.get("scope") in {"row", "col"} for one in page.tags("th"))
    (drawing,) = page.tags("svg")
    assert drawing["role"] == "img"
    assert drawing["aria-labelledby"]
    assert page.tags("html")[0]["lang"] == "en"
    assert page.tags("a")[0] == {"class": "skip", "href": "#main"}
    assert len(page.tags("main")) == len(page.tags("header")) == len(page.tags("footer")) == len(page.tags("h1")) == 1
    assert {"name": "color-scheme", "content": "light dark"} in page.tags("meta")


@pytest.mark.parametrize("name", ["NastyIds", "NastyWords"])
def test_a_store_that_answers_script_does_no_harm(checked: Check, name: str) -> None:
    text = html(checked(name))
    page = Page(text)
    assert page.wrong == []
    assert "throw 1" in page.text, "the answer is not shown at all"
    assert "<script" not in text
    assert not re.search("[\x00\x1b]", text)
    assert "<script>throw 1" in page.text


def test_a_target_or_reason_with_markup_is_shown_as_it_is(checked: Check) -> None:
    one = checked("TwoOwners")
    page = Page(html(one.but(target=NASTY, not_checked=(NotChecked(NASTY, NASTY),))))
    assert page.wrong == []
    assert page.text.count("<script>throw 1") > 3
    broken = Page(broken_html(NASTY, f"{NASTY}\n{NASTY}", 0.1, None, NASTY))
    assert broken.wrong == []
    assert broken.tags("script") == []


def test_the_policy_of_the_page_is_strict(checked: Check) -> None:
    (policy,) = [
        one["content"]
        for one in Page(html(checked("TwoOwners"))).tags("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", unescape(policy)
    )


def test_several_findings_on_one_page(checked: Check) -> None:
    several = [checked(name) for name in ("TwoOwners", "usage-by-last-seen", "steals-rows", "reopen-frees-claims", "NastyWords")]
    findings = [finding for one in several for finding in one.report.findings]
    report = evolve(several[0].report, findings=tuple(findings))
    violations = [violation for one in several for violation in one.violations]
    page = Page(check_html(report, violations, evolve(several[0].asked, max_findings=5)))
    assert page.wrong == []
    assert len(page.tags("svg")) == len(page.tags("article")) == 5
    told = flat(page.text)
    assert "5 rules are broken" in told
    assert "Stopped at 5 findings: --max-findings." in told
    assert "Finding 5 of 5" in told


def test_a_store_that_conforms(checked: Check) -> None:
    one = checked("TwoOwners").but(findings=(), races=(), verdict="conforms", starved=())
    text = html(one)
    told = flat(Page(text).text)
    assert Page(text).wrong == []
    assert "CONFORMS" in told
    assert "kept every rule that was checked" in told
    assert "No rule was seen broken" in told
    assert "Finding" not in told


def test_an_inconclusive_one(checked: Check) -> None:
    starved = ("LEASE-4", "sometimes: a turn is replayed")
    one = checked("TwoOwners").but(findings=(), verdict="inconclusive", starved=starved)
    first = flat(Page(html(one)).text).partition("Facts")[0]
    assert "INCONCLUSIVE" in first
    assert f"Never reached LEASE-4 {STATEMENTS['LEASE-4']} a turn is replayed" in first
    assert "--budget 5m" in first


def test_an_interrupted_check(checked: Check) -> None:
    cut = NotChecked("the rest of the run", "interrupted after 1.2 s")
    one = checked("TwoOwners")
    interrupted = evolve(one, report=evolve(one.report, interrupted=True, not_checked=(cut,)))
    first = flat(Page(html(interrupted)).text).partition("Facts")[0]
    assert "the check was interrupted" in first
    assert "the rest of the run interrupted after 1.2 s" in first


def test_nothing_at_all(checked: Check) -> None:
    none = dict.fromkeys(checked("TwoOwners").report.exercised, 0)
    one = checked("TwoOwners").but(
        findings=(), policies=(), operations=0, exercised=none, asserted=none, verdict="inconclusive", interrupted=True
    )
    assert Page(html(one)).wrong == []
    probed = checked("TwoOwners").but(findings=(), operations=0, exercised=none, asserted=none, verdict="inconclusive")
    assert Page(html(probed)).wrong == []


def test_a_broken_target() -> None:
    page = Page(broken_html("python:a:b", "the factory raised OSError\n  b.py:3", 0.2, 7, "leasehold check python:a:b"))
    told = flat(page.text)
    assert page.wrong == []
    assert "BROKEN" in told
    assert "the factory raised OSError b.py:3" in told
    assert "mend this first" in told
    assert "leasehold check python:a:b" in told
    assert "kept" not in told


# -- colours -------------------------------------------------------------------------------------------------------------------

PAIRS = [
    *((ink, ground) for ground in ("bg", "panel") for ink in ("ink", "dim", "link", "good", "bad")),
    ("good", "good-bg"),
    ("bad", "bad-bg"),
    ("warn", "warn-bg"),
    ("ink", "warn-bg"),
    ("dim", "warn-bg"),
    ("warn", "bg"),
    ("dim", "bad-bg"),
    ("good", "bad-bg"),
    ("ink", "bad-bg"),
    ("ink", "good-bg"),
    ("ink", "mute-bg"),
    *(("ink", f"tone-{number}") for number in range(6)),
]
"""Which colour of text stands on which ground."""


def themes() -> Iterator[tuple[str, dict[str, str]]]:
    sheet = style("colours.css")
    for media, block in re.findall(r"(?:@media ([^{]+) \{\s*)?:root \{(.*?)\}", sheet, re.DOTALL):
        yield media or "light", dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def contrast(one: str, other: str) -> float:
    """The contrast of two colours as WCAG 2 has it."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_contrast_in_every_theme() -> None:
    found = dict(themes())
    assert set(found) == {"light", "(prefers-color-scheme: dark)", "print"}
    assert found["print"] == found["light"]
    poor = [
        f"{media}: {ink} on {ground} {contrast(colours[ink], colours[ground]):.2f}"
        for media, colours in found.items()
        for ink, ground in PAIRS
        if contrast(colours[ink], colours[ground]) < 4.5
    ]
    assert poor == []


def test_twin_contrast() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")


def test_the_sheets_use_no_colour_but_the_themes() -> None:
    others = style(*(name for name in SHEETS if name != "colours.css"))
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", others) == []
    known = {name for _, colours in themes() for name in colours}
    assert set(re.findall(r"var\(--([\w-]+)\)", others)) <= known
