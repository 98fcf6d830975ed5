"""Where the files under specs/ are: they come with the package."""

from __future__ import annotations

from pathlib import Path

import leasehold


def directory() -> Path:
    """Within the package once it is installed, else in the checkout that the package is read from."""
    package = Path(leasehold.__file__).parent
    installed = package / "specs"
    return installed if (installed / "README.md").is_file() else package.parents[1] / "specs"
