"""The list of properties and witnesses. A property names what it proves, at which arity, and its false twins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen

F = TypeVar("F", bound=Callable[..., Any])


@frozen
class Twin:
    """A small change to the model's text under which the property must be refuted. ``old`` stands once in the module."""

    module: str
    old: str
    new: str


@frozen
class Property:
    """A property to be proved. ``over``: the arity. ``bound``: not empty where a finished search cannot be expected."""

    name: str
    ids: tuple[str, ...]
    over: str
    proof: Callable[..., Any]
    twins: tuple[Twin, ...]
    bound: str


PROPERTIES: dict[str, Property] = {}

WITNESSES: dict[str, Callable[..., Any]] = {}
"""Command -> a function that says how it was answered. Each of its postconditions says 'never so', and must be refuted."""


def proved(*ids: str, over: str, twins: tuple[Twin, ...], bound: str = "") -> Callable[[F], F]:
    """Enter a proof into the list, under its function's name."""

    def enter(proof: F) -> F:
        name = proof.__name__.replace("_", " ")
        assert name not in PROPERTIES, name
        PROPERTIES[name] = Property(name, ids, over, proof, twins, bound)
        return proof

    return enter


def witnessed(claim: F) -> F:
    """Enter a function whose postconditions are all false."""
    assert claim.__name__ not in WITNESSES, claim.__name__
    WITNESSES[claim.__name__] = claim
    return claim
