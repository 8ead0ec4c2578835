"""What holds for the repository as a whole: versions, addresses, pages, sizes and docstrings."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import sparrot
from sparrot.lm.config import LmConfig
from sparrot.train.config import Config
from sparrot.train.recipe import load_as

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
MAX_LINES_OF_FILE, MAX_LINES_OF_FUNCTION = 400, 40

# In two halves, so that this file does not hold what it looks for.
PLACES = ("/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/op" + "t/", "/fa" + "rm/", "/Us" + "ers/")
HOSTS = ("pypi." + "org", "files.python" + "hosted.org", "download.py" + "torch.org", "--index" + "-url")


def tracked_files() -> list[Path]:
    """Every file that git has or would take in; in a copy without git, every file outside hidden folders."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not is_generated(path)]


def is_generated(path: Path) -> bool:
    """Whether a file is in a folder that is never committed."""
    folders = path.relative_to(ROOT).parts[:-1]
    return any(part in ("build", "site", "dist", "data", "runs") or part[0] == "." for part in folders)


def addresses(text: str) -> list[str]:
    """What ties a text to one machine or one package registry."""
    return [place for place in PLACES if re.search(rf"(?<![\w.~/-]){re.escape(place)}", text)] + [
        host for host in HOSTS if host in text
    ]


@pytest.mark.parametrize(
    ("text", "n_found"),
    [
        (f"open('{PLACES[0]}x')", 1),
        (f"see {PLACES[2]}me", 1),
        (f"https://{HOSTS[0]}/simple", 1),
        (f"pip install {HOSTS[3]} x", 1),
        ("frame" + PLACES[0] + "s, tests" + PLACES[3], 0),
    ],
)
def test_addresses_are_found(text, n_found):
    assert len(addresses(text)) == n_found


def test_no_file_names_a_machine_or_a_registry():
    found = {}
    for path in tracked_files():
        try:
            found[path.relative_to(ROOT).as_posix()] = addresses(path.read_text("utf-8"))
        except UnicodeDecodeError:  # sound, pictures, models
            continue
    assert len(found) > 50
    assert {name: what for name, what in found.items() if what} == {}


def test_the_version_is_the_same_everywhere():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    changed = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changed is not None
    assert changed[1] == declared == sparrot.__version__


def test_constraints_pin_every_dependency_exactly():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines if line[:1] != "#")
    known = {normal(name) for name in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    wanted += [name for extra in project["project"]["optional-dependencies"].values() for name in extra]
    assert {normal(re.match(r"[\w.-]+", name)[0]) for name in wanted} <= known
    assert pins["torch"] == "2.13.0"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pages_in(nav: object) -> Iterator[str]:
    """Every page of a navigation of mkdocs."""
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict | list):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_in(part)


def test_every_page_is_in_the_navigation_once():
    nav = list(pages_in(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(nav) == sorted(pages)


@pytest.mark.parametrize("script", ["tables.py", "reference.py"])
def test_generated_pages_are_up_to_date(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script, "--check"])
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "docs" / script), run_name="__main__")
    assert ended.value.code == 0, capsys.readouterr().err


def test_every_result_file_has_the_shape_of_all():
    for path in (ROOT / "results").rglob("result.json"):
        result = json.loads(path.read_text())
        assert {"command", "commit", "machine", "seeds", "rows", "goals"} <= set(result), path
        for goal in result["goals"]:
            good = goal["measured"] >= goal["required"]
            if goal["better"] == "lower":
                good = goal["measured"] <= goal["required"]
            assert goal["met"] == good, f"{path}: {goal['name']}"
            assert goal["met"] or goal["why"], f"{path}: {goal['name']} is not met and does not say why"


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_module_says_what_it_is():
    silent = [path for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_source_files_are_short():
    n_lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert len(n_lines) > 50
    assert {name: n for name, n in n_lines.items() if n > MAX_LINES_OF_FILE} == {}


def long_functions(source: str) -> list[str]:
    """Functions over 40 lines, docstring aside, without a comment on their first line that says why."""
    lines = source.splitlines()
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            n_docstring = 0
            if ast.get_docstring(node, clean=False) is not None:
                n_docstring = node.body[0].end_lineno - node.body[0].lineno + 1
            n_lines = node.end_lineno - node.lineno + 1 - n_docstring
            if n_lines > MAX_LINES_OF_FUNCTION and "#" not in lines[node.lineno - 1]:
                found.append(f"{node.name} ({n_lines} lines)")
    return found


def test_long_functions_are_found():
    body = "".join(f"    x{i} = {i}\n" for i in range(MAX_LINES_OF_FUNCTION - 1))
    assert long_functions(f"def f():\n{body}") == []
    assert long_functions(f'def f():\n    """Two\n    lines."""\n{body}') == []
    assert long_functions(f"def f():\n{body}    return\n") == ["f (41 lines)"]
    assert long_functions(f"def f():  # a table\n{body}    return\n") == []


def test_functions_are_short():
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text()) for path in SOURCES}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_packages_are_lists_of_names():
    for path in (ROOT / "src").rglob("__init__.py"):
        if path.parent.name != "sparrot":  # which imports its names when they are used
            body = ast.parse(path.read_text()).body[1:]
            extra = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom | ast.Assign)]
            assert not extra, path


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_says_how_it_is_run_what_it_costs_and_what_came_out(path):
    head = path.read_text(encoding="utf-8").partition("\nname: ")[0]
    is_of_text = "sparrot lm train" in head
    command = "sparrot lm train" if is_of_text else "sparrot train"
    assert f"\n#   {command} recipes/{path.name} --out runs/{path.stem}" in head
    assert "\n# Cost: " in head
    assert " Dev" in head
    assert load_as(LmConfig if is_of_text else Config, path).name == path.stem
