"""The one error of model files."""

_REMEDY = "The file is damaged or was not written by sparrot: copy it again, or export it again"


class FormatError(ValueError):
    """A model file that cannot be read, as one sentence that says what is wrong and what to do.

    field:  the tensor, the JSON field or the part of the container at fault.
    offset: byte of the file where that is; for a JSON field, where the header begins.
    """

    def __init__(self, fact: str, field: str, offset: int, remedy: str = _REMEDY) -> None:
        super().__init__(fact, field, offset, remedy)
        self.fact = fact
        self.field = field
        self.offset = offset
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.fact} (`{self.field}`, byte {self.offset}). {self.remedy}."

    def while_reading(self, path: object) -> "FormatError":
        """The same error, which also says of which file it speaks."""
        return FormatError(
            f"cannot read {path} as a model: {self.fact}", self.field, self.offset, self.remedy
        )
