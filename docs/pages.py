"""Pages that are partly or wholly made by a script: written by default, compared with `--check`."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def publish(pages: Mapping[Path, str], script: str) -> int:
    """Exit code after writing every page, or after comparing it with what is there if `--check` is given.

    pages:  path → the text that the page should have.
    script: how the reader starts the caller, for the sentence printed about an outdated page.
    """
    parser = argparse.ArgumentParser(description=f"Writes {', '.join(path.name for path in pages)}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is outdated")
    check_only = parser.parse_args().check
    outdated = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in outdated:
        name = path.relative_to(ROOT)
        if check_only:
            sys.stderr.write(f"{name} is not what `python {script}` writes: run it and commit the page.\n")
        else:
            path.write_text(pages[path], encoding="utf-8")
            sys.stdout.write(f"{name} written\n")
    return int(check_only and bool(outdated))
