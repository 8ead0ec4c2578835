"""The options that all commands have which decode, as typer reads them off a signature."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from sparrot.cli.models import model_path

if TYPE_CHECKING:
    from sparrot.engine import LanguageModel, WordModel


class LmPass(StrEnum):
    """When a language model is asked, see `DecodingOptions`."""

    FIRST = "first"
    SECOND = "second"


class Decoder(StrEnum):
    """The searches of `DecodingOptions`."""

    GREEDY = "greedy"
    BEAM = "beam"


DecoderOption: TypeAlias = Annotated[Decoder, typer.Option(help="How the tokens are searched for.")]
BeamOption: TypeAlias = Annotated[int, typer.Option(help="Hypotheses that the beam search keeps.")]
MaxSymbolsOption: TypeAlias = Annotated[
    int, typer.Option(help="Tokens that a frame may emit in the greedy search of a transducer.")
]
BlankPenaltyOption: TypeAlias = Annotated[
    float, typer.Option(help="Subtracted from the log-probability of the blank, beside the level's own.")
]
HotwordOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--hotword",
        metavar="PHRASE[:BOOST]",
        help="A phrase that is expected, and what it adds to a text's score; 5 if not given. Repeatable.",
    ),
]
HotwordsOption: TypeAlias = Annotated[
    Path | None, typer.Option(help="File of hotwords, one a line, as --hotword takes them.")
]
LmOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Language model for the beam search: an ARPA file, of words or of the model's tokens, or what "
        "`sparrot lm train` made, a model file or run folder."
    ),
]
LmLevelOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Level of a language model of `sparrot lm train`; the densest if not given."),
]
LmPassOption: TypeAlias = Annotated[
    LmPass,
    typer.Option(help="first lets the language model guide the search, second chooses among what it leaves."),
]
LmScaleOption: TypeAlias = Annotated[
    float, typer.Option(help="Factor of the language model's log-probabilities.")
]
WordBonusOption: TypeAlias = Annotated[
    float, typer.Option(help="Added to the score of a text for each word, with a language model.")
]


def given_hotwords(phrases: Sequence[str] | None, file: Path | None) -> dict[str, float]:
    """The boosts of hotwords on the command line and in a file. Raises ValueError if one is there twice."""
    from sparrot.engine.hotwords import hotword_of, read_hotwords

    given = [hotword_of(phrase) for phrase in phrases or ()] + ([] if file is None else read_hotwords(file))
    repeated = next((phrase for i, (phrase, _) in enumerate(given) if phrase in dict(given[:i])), None)
    if repeated is not None:
        raise ValueError(f"the hotword {repeated!r} is named twice")
    return dict(given)


def given_lm(path: Path | None, level: str | None) -> "LanguageModel | WordModel | None":
    """The language model of a file or run folder, if one is named. Raises ValueError for a level too many."""
    from sparrot.engine import LanguageModel, WordModel

    if path is not None and (path.is_dir() or _is_model_file(path)):
        return WordModel.load(model_path(path), level)
    if level is not None:
        named = "no language model is named" if path is None else f"{path} is an n-gram model, which has none"
        raise ValueError(f"--lm-level is the level of a recurrent language model, and {named}")
    return None if path is None else LanguageModel.load(path)


def _is_model_file(path: Path) -> bool:
    """Whether a file begins like a model file: 8 bytes of a length, then JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"
