"""The templates of the HTML reports, and their style sheets. Whatever is put into a template is escaped."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from leasehold import __version__
from leasehold.report.standing import printable

SHEETS = ("colours.css", "page.css", "timeline.css")
"""The style of a page."""


def style(*names: str) -> str:
    """These style sheets as one."""
    folder = resources.files("leasehold.report") / "templates"
    return "\n".join((folder / name).read_text("utf-8") for name in names)


def render(name: str, **values: Any) -> str:
    """A page from its template. Its policy lets a browser load nothing and run nothing but the page's own style."""
    env = Environment(
        loader=PackageLoader("leasehold.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    css = "\n" + style(*SHEETS)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return printable(env.get_template(name).render(version=__version__, css=css, policy=policy, **values))
