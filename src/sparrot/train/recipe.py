"""Recipes: configurations in YAML files.

Unknown keys are errors that name the nearest known one, and all errors are shown together.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from sparrot.train.config import Config
from sparrot.train.section import Section

Kind = TypeVar("Kind", bound=Section)


def load_config(path: Path, overrides: Iterable[str] = ()) -> Config:
    """The configuration of a recogniser in a YAML file; see `load_as`."""
    return load_as(Config, path, overrides)


def parse_config(described: Mapping[str, Any], source: str) -> Config:
    """The configuration of a recogniser that a mapping describes; see `parse_as`."""
    return parse_as(Config, described, source)


def load_as(kind: type[Kind], path: Path, overrides: Iterable[str] = ()) -> Kind:
    """The configuration in a YAML file, with `a.b=value` overrides; paths in it are as written.

    Raises ValueError that lists everything wrong with it.
    """
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(described, dict):
        raise ValueError(f"{path} must hold a mapping of sections, see docs/configuration.md")
    for override in overrides:
        _override(described, override)
    return parse_as(kind, described, str(path))


def parse_as(kind: type[Kind], described: Mapping[str, Any], source: str) -> Kind:
    """The configuration that a mapping describes. Raises ValueError that lists everything wrong."""
    try:
        return kind.model_validate(described)
    except ValidationError as error:
        problems = "; ".join(_problems(kind, error))
        raise ValueError(f"cannot use the configuration {source}: {problems}") from None


def _override(described: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ValueError(f"an override is written `section.key=value`; got `{override}`")
    *sections, last = key.split(".")
    place = described
    for section in sections:
        if place.get(section) is None:
            place[section] = {}
        place = place[section]
        if not isinstance(place, dict):
            raise ValueError(f"cannot override `{key}`: `{section}` is a value, not a section")
    try:
        place[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ValueError(f"cannot override `{key}`: `{text}` is not a YAML value") from None


def _problems(kind: type[Section], error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"]) or "the whole"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            message = "unknown key" + _nearest(kind, problem["loc"])
        yield f"`{place}`: {message}"


def _nearest(kind: type[Section], place: tuple[int | str, ...]) -> str:
    section: Any = kind
    for part in place[:-1]:
        section = _field_type(section, str(part)) or section
    known = list(getattr(section, "model_fields", None) or getattr(section, "__dataclass_fields__", {}))
    near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.5)
    return f", did you mean `{near[0]}`?" if near else f"; known are {', '.join(known)}"


def _field_type(section: Any, name: str) -> Any:
    """The section that a field holds, whether or not it is optional."""
    field = getattr(section, "model_fields", {}).get(name)
    if field is None:
        return None
    options = [field.annotation, *get_args(field.annotation)]
    return next(
        (o for o in options if hasattr(o, "model_fields") or hasattr(o, "__dataclass_fields__")), None
    )
