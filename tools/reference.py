"""Writes what is generated from the code: docs/reference.md for people, specs/requirements.json for programs."""

from __future__ import annotations

import json
from pathlib import Path

from leasehold.report.spec import read_source, spec_markdown
from leasehold_model.policy import POINTS, SEED
from leasehold_model.requirements import REQUIREMENTS


def requirements_json() -> str:
    """Every requirement, law and policy point of the edition, without places in the code."""
    value = {
        "format": 1,
        "edition": SEED.name,
        "requirements": [{"id": one.id, "level": one.level, "statement": one.statement} for one in REQUIREMENTS],
        "policies": [
            {
                "id": one.id,
                "refines": one.refines,
                "question": one.question,
                "options": list(one.options),
                "in_contract": not one.ours,
            }
            for one in POINTS
        ],
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


PAGES = {
    "docs/reference.md": lambda: spec_markdown(read_source()),
    "specs/requirements.json": requirements_json,
}


def main() -> None:
    """Write every page."""
    for name, made in PAGES.items():
        Path(name).write_text(made(), "utf-8")


if __name__ == "__main__":
    main()
