"""What an adapter does to its files is told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from leasehold.wire.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of changes this way")

A_MOMENT = 0.05


@pytest.fixture
def nobody() -> int:
    """An end of a pipe from which nothing comes."""
    return os.pipe()[0]


def test_changes_are_counted_and_what_was_before_is_not(tmp_path: Path, nobody: int) -> None:
    (tmp_path / "below").mkdir()
    watch = Watch(str(tmp_path))
    assert watch.able
    (tmp_path / "before").write_text("one")
    watch.begin()
    assert watch.count() == 0
    (tmp_path / "below" / "log").touch()  # made, nothing written
    assert watch.count() == 1
    (tmp_path / "below" / "log").write_text("two")
    (tmp_path / "below" / "log").replace(tmp_path / "log")
    assert watch.wait(9, nobody, A_MOMENT) >= 3, "written, moved away, moved here"
    watch.close()
    assert watch.count() == 0


def test_waiting_ends_with_the_change_or_the_answer(tmp_path: Path) -> None:
    watch, (answers, adapter) = Watch(str(tmp_path)), os.pipe()
    began = time.monotonic()
    assert watch.wait(1, answers, A_MOMENT) == 0
    assert time.monotonic() - began >= A_MOMENT
    (tmp_path / "log").touch()
    assert watch.wait(1, answers, 30.0) == 1
    os.write(adapter, b"answer\n")
    assert watch.wait(1, answers, 30.0) == 0
    watch.close()
