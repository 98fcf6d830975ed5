"""Functions that are no proofs, each in another way. They stand apart, since pytest rewrites the asserts of its own modules."""

from __future__ import annotations

from leasehold_model.decisions import add_ms


def impossible(x: int) -> None:
    """
    pre: x > 0 and x < 0
    post: True
    """
    assert x == 12345


def no_contract(x: int) -> None:
    assert x == x + 1


def too_deep(text: str, other: str) -> None:
    """
    post: True
    """
    assert hash(text + other) != 12345


def wrong(now: int, ttl: int) -> None:
    """
    pre: ttl >= 0
    post: True
    """
    assert add_ms(now, ttl) == now + ttl


def crashes(x: int) -> None:
    """
    post: True
    """
    assert [1, 2][x] > 0


def unreadable(x: int) -> None:
    """
    pre: x >
    post: True
    """
