"""What the README and the pages of docs/ show works as it is shown."""

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sparrot.cli.main import VERBS, load_verb
from sparrot.train.recipe import parse_config

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str, pages: list[Path] = PAGES) -> Iterator[str]:
    """The code blocks of a language."""
    for page in pages:
        yield from (text for name, text in BLOCK.findall(page.read_text()) if name == language)


def test_python_examples_are_python():
    examples = list(blocks("python"))
    assert len(examples) >= 4
    for example in examples:
        compile(example, "example", "exec")


def test_the_loops_of_the_sparsity_page_run():
    example, for_good, *_ = blocks("python", [ROOT / "docs" / "sparsity.md"])
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(example, names)
    reached = names["sparsity"].sparsity("small")
    assert reached == pytest.approx({"lstm": 0.9, "fc": 0.5}, abs=0.01)
    assert "blocks returned" in printed.getvalue()
    with contextlib.redirect_stdout(printed):
        exec(for_good, names)
    assert names["pruning"].sparsity() == pytest.approx({"lstm": 0.9}, abs=0.01)


def test_the_criterion_of_the_sparsity_page_passes_its_test():
    *_, criterion, test = blocks("python", [ROOT / "docs" / "sparsity.md"])
    names: dict[str, object] = {"__name__": "relative"}
    exec(criterion, names)
    exec(test, names)
    names["test_relative"]()


def test_the_names_that_examples_import_exist():
    for example in blocks("python"):
        for line in re.findall(r"^from sparrot.*$", example, re.MULTILINE):
            exec(line, {})


def test_the_recipe_of_the_training_page_is_valid():
    recipe, *_ = blocks("yaml", [ROOT / "docs" / "training.md"])
    config = parse_config(yaml.safe_load(recipe), "on the page")
    assert config.encoder.cells == 512


def command_lines() -> Iterator[list[str]]:
    """The words after `sparrot` of every command in the documentation and in recipes."""
    shown = [line for block in blocks("bash") for line in block.splitlines()]
    for recipe in (ROOT / "recipes").glob("*.yaml"):
        shown += [line.removeprefix("#") for line in recipe.read_text().splitlines() if line[:1] == "#"]
    for line in shown:
        found = re.search(r"(?:^|\| )\s*sparrot (.*)$", line)
        if found and "<" not in found[1].split(" --")[0].split()[0]:
            yield shlex.split(found[1], comments=True)


def option_names(words: list[str]) -> tuple[set[str], set[str]]:
    """Options that a command line uses, and those that its command has."""
    command = load_verb(words[0])
    if words[1:] and words[1] in getattr(command, "commands", {}):
        command = command.commands[words[1]]
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    return {word for word in words if re.match(r"--?[a-z]", word)}, known


def test_every_command_shown_exists():
    shown = list(command_lines())
    assert len(shown) >= 20
    for words in shown:
        assert words[0] in VERBS, words
        used, known = option_names(words)
        assert used <= known, words


def test_an_option_that_is_not_there_would_be_found():
    used, known = option_names(["transcribe", "a.wav", "--levels", "small"])
    assert used - known == {"--levels"}
