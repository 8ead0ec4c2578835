"""Where this code comes from."""

import subprocess
from pathlib import Path


def source_commit() -> str | None:
    """The commit that this code was checked out at, with `-dirty` if files of the package have changed since.

    None outside a checkout of it.
    """
    here = Path(__file__)
    try:
        _git(here.parent, "ls-files", "--error-unmatch", here.name)  # not merely installed below another one
        changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no", "--", ".")
        return _git(here.parent, "rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
