"""Where the compilers for the examples come from, and what happens where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.adapters.languages import LANGUAGES
from tools import toolchains
from tools.toolchains import Unavailable


def program(folder: Path, name: str, says: str) -> Path:
    """A program that says something."""
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n", "utf-8")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("says", "new_enough"),
    [("go version go1.22.9 linux/amd64", False), ("go version go1.23.0 linux/amd64", True), ("v24.19.0", True), ("", False)],
)
def test_a_program_on_path_has_to_be_new_enough(
    says: str, new_enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path, "thing", says)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert toolchains.on_path("thing", (1, 23)) == (str(found) if new_enough else None)


def test_what_cannot_be_installed_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "CACHE", tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "gone"))
    monkeypatch.setattr("sys.base_prefix", str(tmp_path / "nowhere"))
    with pytest.raises(Unavailable, match=r"no thing on PATH from 1\.23 up, and .*nowhere.* failed"):
        toolchains.wheel("thing==1", "bin/thing", (1, 23), "version")


def test_debian_packages_are_for_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchains, "CACHE", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(Unavailable, match="no root with apt-get"):
        toolchains.debian_package("thing", str(tmp_path / "thing"))
    assert toolchains.debian_package("thing", str(program(tmp_path, "thing", ""))) == str(tmp_path / "thing")


def test_without_a_toolchain_the_test_is_skipped_and_says_what_was_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> toolchains.Toolchain:
        raise Unavailable("nothing helped")

    monkeypatch.setattr(toolchains, "go", missing)
    with pytest.raises(pytest.skip.Exception, match="ADAPTER WAS NOT CHECKED: nothing helped"):
        LANGUAGES[0].command(tmp_path)
