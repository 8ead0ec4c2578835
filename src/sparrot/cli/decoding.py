"""The options that all commands have which decode, as typer reads them off a signature."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from sparrot.engine import LanguageModel


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
        help="ARPA file of a language model of words or of the model's tokens, for the beam search."
    ),
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


def given_lm(path: Path | None) -> "LanguageModel | None":
    """The language model of a file, if one is named."""
    from sparrot.engine import LanguageModel

    return None if path is None else LanguageModel.load(path)
