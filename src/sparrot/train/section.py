"""What all sections of a configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Validated values that do not change; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def refuse_unused(section: Section, user: str, *names: str) -> None:
    """Raises ValueError for fields of the kind `user` in another kind, save for their defaults."""
    fields, kind = type(section).model_fields, section.model_dump()["kind"]
    given = [f"`{name}`" for name in names if getattr(section, name) != fields[name].default]
    if kind != user and given:
        raise ValueError(f"kind {kind} makes no use of {', '.join(given)}; leave that out, or choose {user}")
