"""The options that all commands have which decode, as typer reads them off a signature."""

from enum import StrEnum
from typing import Annotated, TypeAlias

import typer


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
