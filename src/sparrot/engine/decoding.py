"""The decoder that a model and its options ask for, and chunks for several decoders at once."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparrot._core import Bias
from sparrot.architecture import Transducer
from sparrot.engine.bias import bias_of
from sparrot.engine.decoders import CtcDecoder, GreedyDecoder, PrefixBeamDecoder
from sparrot.engine.options import DecodingOptions
from sparrot.engine.prepared import PreparedLevel, PreparedModel
from sparrot.engine.transducer import (
    ModelLevel,
    Piece,
    TransducerBeamDecoder,
    TransducerDecoder,
    TransducerGreedyDecoder,
    accept_all,
)

Decoder: TypeAlias = CtcDecoder | TransducerDecoder
Chunk: TypeAlias = NDArray[np.float32]


def check_options(model: PreparedModel, options: DecodingOptions) -> None:
    """Nothing; raises ValueError if the model cannot decode like that."""
    _checked_bias(model, options)


def new_decoder(model: PreparedModel, options: DecodingOptions) -> Decoder:
    """The decoder that the options ask for, at the start of a segment. Raises as `check_options`."""
    bias = _checked_bias(model, options)
    transducer, is_greedy = model.network.transducer, options.decoder == "greedy"
    if transducer is None:
        return GreedyDecoder() if is_greedy else PrefixBeamDecoder(options.beam, bias)
    if is_greedy:
        return TransducerGreedyDecoder(transducer, options.max_symbols, bias)
    return TransducerBeamDecoder(transducer, options.beam, bias)


def _checked_bias(model: PreparedModel, options: DecodingOptions) -> Bias | None:
    """What is added to scores."""
    if not isinstance(model.description.architecture, Transducer):
        if options.max_symbols > 1:
            raise ValueError(
                f"`{model.description.name}` is a CTC model, whose frames emit at most one token, and "
                f"max_symbols is {options.max_symbols}: leave it at 1, or take a transducer"
            )
        if options.boosts and options.decoder == "greedy":
            raise ValueError(
                f"`{model.description.name}` is a CTC model, whose greedy search takes the best token of "
                "every frame by itself: leave out the hotwords, or choose the decoder `beam`"
            )
    return bias_of(options, model.description.tokens)


class Taken(NamedTuple):
    """A chunk that a decoder takes.

    chunk:         logits (n, n_tokens), or values of a transducer's encoder (n, joint width).
    level:         that computed it.
    blank_penalty: beside that of the level.
    """

    decoder: Decoder
    chunk: Chunk
    level: PreparedLevel
    blank_penalty: float

    @property
    def whole_penalty(self) -> float:
        """What is subtracted from the blank's log-probability."""
        return self.level.described.blank_penalty + self.blank_penalty


def accept_chunks(taken: Sequence[Taken]) -> list[ValueError | None]:
    """Lets decoders of one model go on, those of a transducer together; why each could not, or None."""
    pieces = [
        Piece(one.decoder, one.chunk, ModelLevel(one.level.described.name, one.level.stop), one.whole_penalty)
        for one in taken
        if isinstance(one.decoder, TransducerDecoder)
    ]
    if pieces:
        return [None if told is None else ValueError(told) for told in accept_all(pieces)]
    return [_accept(one, one.decoder) for one in taken if not isinstance(one.decoder, TransducerDecoder)]


def _accept(taken: Taken, decoder: CtcDecoder) -> ValueError | None:
    try:
        decoder.accept_logits(taken.chunk, taken.level.described.name, taken.whole_penalty)
    except ValueError as error:
        return error
    return None
