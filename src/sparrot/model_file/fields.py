"""Strict reading of JSON: every field has its type, none is unknown, missing or named twice."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sparrot.model_file.errors import FormatError

HEADER_OFFSET = 8  # the header's JSON follows its length, a u64

T = TypeVar("T")


def parse_object(text: str, where: str) -> dict[str, Any]:
    """The JSON object that `text` is.

    Raises FormatError on anything else, on a name that is there twice, on NaN or infinity, and on half a
    surrogate pair, which could not be written again.
    """

    def refuse(reason: str) -> FormatError:
        return FormatError(f"the JSON text of `{where}` {reason}", where, HEADER_OFFSET)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise refuse(f"has the name `{repeated}` twice")
        return found

    def finite(number: str) -> float:
        if not math.isfinite(float(number)):
            raise refuse(f"holds {number}, which is no finite number")
        return float(number)

    try:
        parsed = json.loads(text, object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
        json.dumps(parsed, ensure_ascii=False).encode()
    except FormatError:
        raise
    except UnicodeEncodeError:
        raise refuse("holds half a surrogate pair, which is no character") from None
    except (ValueError, RecursionError) as error:
        raise refuse(f"cannot be parsed: {error}") from None
    if not isinstance(parsed, dict):
        raise refuse("is no object")
    return parsed


@dataclass(frozen=True)
class Fields:
    """A JSON object with exactly the fields expected of it.

    where: its place in the description, for messages, such as `levels[0]`; empty for the description.
    """

    values: Mapping[str, Any]
    where: str

    @classmethod
    def of(cls, value: Any, where: str, expected: set[str]) -> "Fields":
        """The fields of a JSON value. Raises FormatError unless it is an object with these names."""
        shown = where or "the description"
        if not isinstance(value, Mapping):
            raise FormatError(f"{shown} must be an object, not {value!r:.80}", where, HEADER_OFFSET)
        wrong = sorted(set(value) ^ expected)
        if wrong:
            problem = "unknown" if wrong[0] in value else "missing"
            raise FormatError(f"{shown} has a {problem} field `{wrong[0]}`", where or wrong[0], HEADER_OFFSET)
        return cls(value, where)

    def text(self, name: str) -> str:
        """A string that is not empty."""
        value: str = self._typed(name, "text", lambda v: isinstance(v, str) and v != "")
        return value

    def whole(self, name: str, least: int = 0) -> int:
        """A whole number of at least `least`, below 2^63."""
        value: int = self._typed(
            name, f"a whole number from {least} on", lambda v: _is_whole(v) and v >= least
        )
        return value

    def number(self, name: str, least: float = -math.inf) -> float:
        """A number of at least `least`."""
        return float(self._typed(name, f"a number from {least} on", lambda v: _is_number(v) and v >= least))

    def share(self, name: str) -> float:
        """A number in [0, 1]."""
        return float(self._typed(name, "in [0, 1]", lambda v: _is_number(v) and 0 <= v <= 1))

    def crc32(self, name: str) -> int:
        """A CRC-32 from its eight hexadecimal digits."""
        return parse_crc32(self._typed(name, "a text", lambda v: isinstance(v, str)), self._path(name))

    def list(self, name: str) -> list[Any]:
        """A list of anything."""
        value: list[Any] = self._typed(name, "a list", lambda v: isinstance(v, list))
        return value

    def object(self, name: str) -> dict[str, Any]:
        """An object with any names."""
        value: dict[str, Any] = self._typed(name, "an object", lambda v: isinstance(v, dict))
        return value

    def inner(self, name: str, read: Callable[["Fields", str], T]) -> dict[str, T]:
        """An object with any names whose values are read, one by one, by a method of `Fields`."""
        values = Fields(self.object(name), self._path(name))
        return {key: read(values, key) for key in values.values}

    def objects(self, name: str, expected: set[str]) -> Iterator["Fields"]:
        """The objects of a list, which all have the same fields."""
        for i, value in enumerate(self.list(name)):
            yield Fields.of(value, f"{self._path(name)}[{i}]", expected)

    def built(self, name: str, build: Callable[[Any], T]) -> T:
        """What `build` makes of a field; its ValueError or TypeError becomes a FormatError."""
        try:
            return build(self.values[name])
        except FormatError:
            raise
        except (ValueError, TypeError) as error:
            raise FormatError(
                f"`{self._path(name)}` is refused: {error}", self._path(name), HEADER_OFFSET
            ) from error

    def refuse(self, name: str, fact: str) -> FormatError:
        """The error that says `fact` of a field."""
        return FormatError(f"`{self._path(name)}` {fact}", self._path(name), HEADER_OFFSET)

    def _typed(self, name: str, required: str, holds: Callable[[Any], bool]) -> Any:
        value = self.values[name]
        if not holds(value):
            raise self.refuse(name, f"must be {required}, not {value!r:.80}")
        return value

    def _path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name


def format_crc32(crc32: int) -> str:
    """Eight lower-case hexadecimal digits."""
    return f"{crc32:08x}"


def parse_crc32(text: str, where: str) -> int:
    """The number that `format_crc32` wrote. Raises FormatError on any other text."""
    if len(text) != 8 or not set(text) <= set("0123456789abcdef"):
        raise FormatError(
            f"`{where}` must be eight lower-case hexadecimal digits, not {text!r:.40}", where, HEADER_OFFSET
        )
    return int(text, 16)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)
