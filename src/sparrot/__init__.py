"""One recurrent speech recogniser in one file, whose sparsity is chosen while it runs.

The names below are imported when they are first used, so that `import sparrot` costs nothing.
"""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers read it; `typing` would take most of the time of this import
if TYPE_CHECKING:
    from sparrot.engine import Final, Partial, Recognizer, Stream, Word
    from sparrot.model_file import FormatError

__version__ = "0.1.0"
__all__ = ["Final", "FormatError", "Partial", "Recognizer", "Stream", "Word", "__version__"]

_HOMES = dict.fromkeys(("Final", "Partial", "Recognizer", "Stream", "Word"), "sparrot.engine")
_HOMES["FormatError"] = "sparrot.model_file"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module `sparrot` has no attribute `{name}`")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
