"""The one place where a failure becomes a sentence on stderr and an exit code.

Bad input of any kind gives exit code 2, Ctrl-C 130, and a reader that went away (`sparrot … | head`)
1 and silence, as typer has it. With SPARROT_DEBUG=1 in the environment the traceback comes too.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from difflib import get_close_matches

import typer
from typer.exceptions import Abort, TyperException

BAD_INPUT, INTERRUPTED, READER_GONE = 2, 130, 1
TRAINING_PACKAGES = ("torch", "pydantic", "tensorboard", "matplotlib", "safetensors", "yaml")


def exit_code_of(command: Callable[[], object]) -> int:
    """Runs `command`: 0, the code it returned, or that of the failure it told the user about.

    Anything that is not the user's doing is raised again, with its traceback.
    """
    if sys.stdout is None:  # the shell's >&-
        tell("standard output is closed: send it to a file, or to /dev/null")
        return BAD_INPUT
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = command()
        sys.stdout.flush()
        if code == INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        _give_up_stdout()
        return READER_GONE
    except (KeyboardInterrupt, Abort):
        typer.echo("sparrot: interrupted", err=True)
        return INTERRUPTED
    except Exception as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        _give_up_stdout_if_full()
        if sentence:  # without its argument a group of verbs has printed its help
            tell(sentence)
        return error.exit_code if isinstance(error, TyperException) else BAD_INPUT


def _give_up_stdout() -> None:
    """Drops what is left to print, which the interpreter would try again when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _give_up_stdout_if_full() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_stdout()


def tell(sentence: str) -> None:
    """Prints a sentence on stderr, with the traceback of the failure being handled when debugging."""
    if os.environ.get("SPARROT_DEBUG") == "1":
        traceback.print_exc()
    typer.echo(f"sparrot: {sentence}", err=True)


def sentence_of(error: Exception) -> str | None:
    """What to tell the user about a failure; None if it is our fault and not the user's."""
    match error:
        case TyperException():
            return _usage(error)
        case ModuleNotFoundError() if (error.name or "").split(".")[0] in TRAINING_PACKAGES:
            return f"`{error.name}` is not installed: training needs `pip install sparrot[train]`"
        case OSError() if error.strerror is not None:
            where = f"{error.filename}: " if error.filename is not None else ""
            return f"{where}{error.strerror[0].lower()}{error.strerror[1:]}"
        case MemoryError():
            return "this needs more memory than there is"
        case ValueError() | TypeError() | OSError():
            return " ".join(str(error).split())
    return None


def _usage(error: TyperException) -> str:
    """A wrong command line, with the nearest right one."""
    context = getattr(error, "ctx", None)
    path = "sparrot" if context is None else context.command_path
    unknown = getattr(error, "option_name", None)
    if unknown is None or not hasattr(error, "possibilities"):
        if not error.format_message():
            return ""
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        return f"{message}; `{path} --help` says what {path} takes".replace("?;", "?")
    known = [] if context is None else [name for param in context.command.params for name in param.opts]
    nearest = get_close_matches(unknown, known, n=1, cutoff=0.5)
    hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
    return f"`{path}` has no option `{unknown}`.{hint} `{path} --help` lists them"


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    typer.echo(f"sparrot: warning: {message}", err=True)
