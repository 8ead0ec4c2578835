"""The search over a stream of frames, and the segments it is cut into."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sparrot.engine.decoding import Taken, accept_chunks, new_decoder
from sparrot.engine.encoder import SegmentEncoder, advance
from sparrot.engine.events import Final, Partial, Reason, Word
from sparrot.engine.hypothesis import Hypothesis
from sparrot.engine.options import DecodingOptions
from sparrot.engine.prepared import PreparedLevel, PreparedModel
from sparrot.engine.second_pass import chosen

PIECE_FRAMES = 1000  # a long recording is pushed in such pieces; any cut gives the same


class Segments:
    """Decodes frames chunk by chunk and starts anew where a segment ends.

    At an endpoint the state of the encoder and of the decoder is zero again, as in training, and the
    clock runs on. Segments without words leave nothing behind, not even a number.
    """

    def __init__(self, model: PreparedModel, options: DecodingOptions) -> None:
        self._model = model
        self._options = options
        self._rules = options.endpoints
        self._blank_penalty = options.blank_penalty
        self._encoder = SegmentEncoder(model.network, model.description.chunk_frames)
        self._decoder = new_decoder(model, options)
        self._number = 0
        self._level = ""
        self._shown: Partial | None = None

    @property
    def frame(self) -> int:
        """Output frame of the stream at which the next chunk starts."""
        return self._encoder.edge // self._model.clock.reduction

    def push(self, frames: NDArray[np.float32]) -> None:
        """Adds feature frames (n, input_width)."""
        self._encoder.push(frames)

    def finish(self) -> None:
        """Says that no frame will follow."""
        self._encoder.finish()

    @property
    def ready(self) -> bool:
        """Whether the frames of the next chunk are there."""
        return self._encoder.ready

    def decode_ready(self, level: str) -> list[Final]:
        """The `Final`s of all chunks that can be decoded now. Raises ValueError as `step` says."""
        prepared = self._model[level]
        finals: list[Final] = []
        while self.ready:
            (outcome,) = step([self], [prepared])
            if isinstance(outcome, ValueError):
                raise outcome
            finals += outcome
        return finals

    def end(self) -> list[Final]:
        """The `Final` of the segment that the end of the stream cuts off, if it has words."""
        return self._end("finish")

    def changed_partial(self) -> list[Partial]:
        """What the segment reads, if that is not what the last call said."""
        partial = self._partial()
        shown = self._shown or Partial(self._number, "", 0, (), self._level)
        if (partial.text, partial.stable, partial.words) == (shown.text, shown.stable, shown.words):
            return []
        self._shown = partial
        return [partial]

    def _settled(self, level: PreparedLevel) -> list[Final]:
        """The `Final` of a segment that ends with the chunk just decoded, if one does."""
        self._level = level.described.name
        reason = self._reason_to_end()
        return [] if reason is None else self._end(reason)

    def _reason_to_end(self) -> Reason | None:
        if self._rules is None:
            return None
        clock = self._model.clock
        return self._rules.reason(
            silence=self._decoder.trailing_blanks * clock.frame,
            length=(self._encoder.edge - self._encoder.start) * clock.hop,
            spoken=self._decoder.n_tokens > 0,
        )

    def _end(self, reason: Reason) -> list[Final]:
        tokens = self._model.description.tokens
        words = self._words(chosen(self._decoder.final_hypotheses(), self._options, tokens))
        self._decoder.reset()
        self._encoder.restart()
        if not words:
            return []
        final = Final.of(self._number, words, reason)
        self._number += 1
        self._shown = None
        return [final]

    def _partial(self) -> Partial:
        hypothesis = self._decoder.hypothesis()
        words = self._words(hypothesis)
        text = " ".join(word.text for word in words)
        settled = [hit.id for hit in hypothesis.tokens[: self._decoder.n_stable]]
        # A token that is half a character decodes to U+FFFD until the other half is there.
        stable = _shared(self._model.description.tokens.decode(settled).rstrip("\ufffd"), text)
        return Partial(self._number, text, stable, words, self._level)

    def _words(self, hypothesis: Hypothesis) -> tuple[Word, ...]:
        return self._model.words.words(hypothesis.tokens, self._encoder.start)


def step(segments: Sequence[Segments], levels: Sequence[PreparedLevel]) -> list[list[Final] | ValueError]:
    """Decodes the next chunk of each, all together; they must be `ready`, and of one model.

    Returns: of each the `Final` of a segment that ends with the chunk, if one does, or why the chunk could
             not be decoded: what the network made of it is not finite.
    """
    encoders = [one._encoder for one in segments]
    chunks = advance(encoders, [level.stop for level in levels])
    for encoder in encoders:
        encoder.move_on()
    taken = zip(segments, chunks, levels, strict=True)
    errors = accept_chunks(
        [Taken(one._decoder, chunk, level, one._blank_penalty) for one, chunk, level in taken]
    )
    return [error or one._settled(level) for one, level, error in zip(segments, levels, errors, strict=True)]


def decode_in_segments(
    model: PreparedModel, pieces: Iterable[NDArray[np.float32]], level: str, options: DecodingOptions
) -> tuple[Final, ...]:
    """What a `Stream` at one level says of the same frames, the partials left out.

    pieces: frames (n, input_width); a piece is not kept once the next is asked for.
    """
    segments = Segments(model, options)
    finals: list[Final] = []
    for frames in pieces:
        for start in range(0, len(frames), PIECE_FRAMES):
            segments.push(frames[start : start + PIECE_FRAMES])
            finals += segments.decode_ready(level)
    segments.finish()
    return (*finals, *segments.decode_ready(level), *segments.end())


def decode_at_once(
    model: PreparedModel, pieces: Iterable[NDArray[np.float32]], level: str, options: DecodingOptions
) -> tuple[Final, ...]:
    """The one segment that the frames (n, input_width) of a whole recording are, if it has words."""
    prepared = model[level]
    decoder = new_decoder(model, options)
    chunk = prepared.network.run(np.concatenate(list(pieces)), prepared.stop)
    (error,) = accept_chunks([Taken(decoder, chunk, prepared, options.blank_penalty)])
    if error is not None:
        raise error
    best = chosen(decoder.final_hypotheses(), options, model.description.tokens)
    words = model.words.words(best.tokens, 0)
    return (Final.of(0, words, "finish"),) if words else ()


def _shared(first: str, second: str) -> int:
    """Characters with which both texts begin."""
    n = min(len(first), len(second))
    return next((i for i in range(n) if first[i] != second[i]), n)
