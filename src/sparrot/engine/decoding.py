"""The decoder that a model and its options ask for, and chunks for several decoders at once."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sparrot.engine.decoders import CtcDecoder, GreedyDecoder, PrefixBeamDecoder
from sparrot.engine.options import DecodingOptions
from sparrot.engine.prepared import PreparedLevel, PreparedModel
from sparrot.engine.transducer import ModelLevel, Piece, TransducerBeamDecoder, accept_all

Decoder: TypeAlias = CtcDecoder | TransducerBeamDecoder
Chunk: TypeAlias = NDArray[np.float32]


def new_decoder(model: PreparedModel, options: DecodingOptions) -> Decoder:
    """The decoder that the options ask for, at the start of a segment."""
    transducer, is_greedy = model.network.transducer, options.decoder == "greedy"
    if transducer is not None:
        return TransducerBeamDecoder(transducer, 1 if is_greedy else options.beam)
    return GreedyDecoder() if is_greedy else PrefixBeamDecoder(options.beam)


def accept_chunks(
    decoders: Sequence[Decoder], chunks: Sequence[Chunk], levels: Sequence[PreparedLevel]
) -> list[ValueError | None]:
    """Lets each decoder go on by what the network made at its level; why it could not, or None.

    decoders: of one model.
    chunks:   logits (n, n_tokens), or values of a transducer's encoder (n, joint width).
    """
    taken = list(zip(decoders, chunks, levels, strict=True))
    pieces = [
        Piece(decoder, chunk, ModelLevel(level.described.name, level.stop), level.described.blank_penalty)
        for decoder, chunk, level in taken
        if isinstance(decoder, TransducerBeamDecoder)
    ]
    if pieces:
        return [None if told is None else ValueError(told) for told in accept_all(pieces)]
    return [
        _accept(decoder, chunk, level)
        for decoder, chunk, level in taken
        if not isinstance(decoder, TransducerBeamDecoder)
    ]


def _accept(decoder: CtcDecoder, logits: Chunk, level: PreparedLevel) -> ValueError | None:
    try:
        decoder.accept_logits(logits, level.described.name, level.described.blank_penalty)
    except ValueError as error:
        return error
    return None
