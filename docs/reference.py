"""Writes docs/configuration.md and docs/commands.md from the code that they are about.

`python docs/reference.py` rewrites both pages, `--check` only says whether they are up to date.
"""

import dataclasses
import enum
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pages import ROOT, publish
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sparrot.cli.main import VERBS, load_verb
from sparrot.lm.config import LmConfig, LmDataConfig
from sparrot.train.config import Config

CONFIGURATION = """\
<!-- Written by docs/reference.py. -->
# Configuration

A recipe is one YAML file. `sparrot train recipe.yaml --set section.key=value` overrides a key. A key that is
not on this page is an error that names the nearest one, and all errors are shown together. The resolved
configuration is kept in the run folder and in the model file.

"""
LANGUAGE_MODELS = """\
The recipe of `sparrot lm train`. The sections `sparsity` and `pruning` are those above, of `lstm`, `fc` and
`embedding` layers.

"""
COMMANDS = """\
<!-- Written by docs/reference.py. -->
# Commands

Every command explains itself with `--help`. Bad input gives one sentence on the standard error output and
exit code 2, Ctrl-C gives 130; with `SPARROT_DEBUG=1` in the environment the traceback comes too.

"""


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [
        [cell.replace("|", r"\|").replace("<", "&lt;") for cell in line]
        for line in [header, [":--"] * len(header), *rows]
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def one_line(text: str) -> str:
    """Text without its line breaks."""
    return " ".join(text.split())


def shown_type(annotation: Any) -> str:
    """A type as a recipe's author reads it."""
    origin, inner = get_origin(annotation), [a for a in get_args(annotation) if a is not Ellipsis]
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(shown_type(option) for option in inner)
    if origin is dict:
        return f"mapping to {shown_type(inner[1])}"
    if origin in (list, tuple):
        n_items = f"{len(inner)} × " if len(inner) > 1 else ""
        return f"list of {n_items}{shown_type(inner[0])}"
    names = {NoneType: "null", str: "text", bool: "true or false", int: "whole number", float: "number"}
    return names[annotation]


def shown_default(value: Any) -> str:
    """A default as YAML writes it."""
    if value in (PydanticUndefined, dataclasses.MISSING):
        return "*required*"
    return f"`{json.dumps(value)}`".replace('"', "")


def limits(field: FieldInfo) -> str:
    """The bounds of a number, as in `≥ 0, < 1`."""
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    bounds = [(sign, getattr(m, name, None)) for m in field.metadata for name, sign in signs.items()]
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def section_of(annotation: Any) -> type | None:
    """The section of the configuration that a field holds, if it does."""
    candidates = [annotation, *get_args(annotation)]
    found = [
        c
        for c in candidates
        if isinstance(c, type) and (issubclass(c, BaseModel) or dataclasses.is_dataclass(c))
    ]
    return found[0] if found else None


def model_rows(section: type[BaseModel]) -> list[list[str]]:
    """Key, values, default and meaning of a section's own keys."""
    rows = []
    for name, field in section.model_fields.items():
        if section_of(field.annotation) is None:
            bounds = limits(field)
            values = shown_type(field.annotation) + (f", {bounds}" if bounds else "")
            rows.append([f"`{name}`", values, shown_default(field.get_default()), field.description or ""])
    return rows


def dataclass_rows(section: Any) -> list[list[str]]:
    """Key, values and default of a section that is a dataclass; its docstring says the meanings."""
    return [
        [f"`{field.name}`", shown_type(field.type), shown_default(field.default)]
        for field in dataclasses.fields(section)
    ]


def sections(section: type[BaseModel], path: str) -> Iterator[str]:
    """The text about a section and then about each section inside it."""
    yield f"## {path or 'The whole'}\n\n{inspect.getdoc(section)}\n\n"
    rows = model_rows(section)
    if rows:
        yield table(["Key", "Values", "Default", "Meaning"], rows)
    for name, field in section.model_fields.items():
        inner = section_of(field.annotation)
        below = f"{path}.{name}" if path else name
        if inner is None:
            continue
        if issubclass(inner, BaseModel):
            yield from sections(inner, below)
        else:
            yield f"## {below}\n\n```text\n{inspect.getdoc(inner)}\n```\n\n"
            yield table(["Key", "Values", "Default"], dataclass_rows(inner))


def language_models() -> str:
    """The text about the recipes of `sparrot lm`, whose sparsity and pruning are those of recognisers."""
    rows = model_rows(LmConfig)
    told = f"## Language models\n\n{LANGUAGE_MODELS}" + table(["Key", "Values", "Default", "Meaning"], rows)
    return told + "".join(sections(LmDataConfig, "Language models: data"))


def command_text(command: Any, path: str, level: int) -> Iterator[str]:
    """The text about a command: what it does, its arguments, its options; then its own commands."""
    yield f"{'#' * level} {path}\n\n{command.help or ''}\n\n".replace("\b", "")
    rows = [parameter_row(p) for p in command.params if not getattr(p, "hidden", False) and p.name != "help"]
    if rows:
        yield table(["Argument or option", "Default", "Meaning"], rows)
    for name, inner in getattr(command, "commands", {}).items():
        yield from command_text(inner, f"{path} {name}", level + 1)


def parameter_row(parameter: Any) -> list[str]:
    """Name, default and meaning of an argument or option."""
    is_option = parameter.param_type_name == "option"
    name = ", ".join(parameter.opts) if is_option else (parameter.metavar or parameter.name.upper())
    default = parameter.default
    shown = (
        ""
        if default in (None, False, []) or parameter.required
        else f"`{getattr(default, 'value', default)}`"
    )
    annotation = parameter.type_descriptor.annotation
    is_choice = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    values = f" {' / '.join(choice.value for choice in annotation)}" if is_choice else ""
    return [
        f"`{name}{values}`",
        "*required*" if parameter.required else shown,
        one_line(parameter.help or ""),
    ]


def pages() -> dict[Path, str]:
    """Both pages."""
    commands = [part for verb in VERBS for part in command_text(load_verb(verb), f"sparrot {verb}", 2)]
    texts = {
        "configuration.md": CONFIGURATION + "".join(sections(Config, "")) + language_models(),
        "commands.md": COMMANDS + "".join(commands),
    }
    return {ROOT / "docs" / name: text.rstrip("\n") + "\n" for name, text in texts.items()}


if __name__ == "__main__":
    sys.exit(publish(pages(), "docs/reference.py"))
