from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

_Float32: TypeAlias = npt.NDArray[np.float32]
_Segment: TypeAlias = tuple[npt.NDArray[np.uint32] | None, npt.NDArray[np.uint16] | None, npt.NDArray[Any]]

def unpack_strips(
    starts: npt.NDArray[np.uint32],
    columns: npt.NDArray[np.uint16],
    values: npt.NDArray[np.float32],
    matrix: npt.NDArray[np.float32],
    gates: int,
    *,
    check_finite: bool,
) -> None:
    """Adds one segment of strips to a dense matrix, in place.

    starts, columns, values: as in docs/format.md; matrix: (rows, columns); all C-contiguous.
    Raises ValueError, before the matrix is touched, if an index or a size is wrong.
    """

def new_pages(n_bytes: int) -> npt.NDArray[np.uint8]:
    """Memory for weights, (n_bytes,): aligned to 64 bytes, in huge pages where they pay."""

class Matrix:
    """A weight matrix as the sum of its segments.

    type:       of its weights: F32, BF16 or I8.
    row_scales: float32 (16 · strips,) of I8, otherwise None.
    """

    def __init__(
        self, rows: int, columns: int, gates: int, type: str, row_scales: npt.NDArray[np.float32] | None
    ) -> None: ...
    def add(
        self,
        layout: str,
        starts: npt.NDArray[np.uint32],
        columns: npt.NDArray[np.uint16],
        values: npt.NDArray[Any],
        *,
        check_finite: bool,
    ) -> None:
        """Adds the next segment, whose arrays stay in use.

        Raises ValueError, with `starts`, `columns` or `values` in it, unless it is one of this matrix.
        """

class Affines:
    """Scales and shifts of `size` values, each shared by `repeat` neighbours, of every stop."""

    def __init__(self, size: int, repeat: int) -> None: ...
    def add(self, scale: npt.NDArray[np.float32], shift: npt.NDArray[np.float32]) -> None:
        """Adds those of the next stop, float32 (strips · 16,). Raises ValueError on another size."""

class Network:
    """Layers in order, on the instruction set named, of SPARROT_ISA, or the best there is."""

    def __init__(self, input_width: int, isa: str | None = None) -> None: ...
    @property
    def isa(self) -> str: ...
    def add_window(self, left: int, right: int, stride: int) -> None: ...
    def add_linear(self, weight: Matrix, bias: npt.NDArray[np.float32], activation: str) -> None: ...
    def add_embedding(self, table: Matrix) -> None: ...
    def add_batch_norm(self, affines: Affines) -> None: ...
    def add_layer_norm(
        self, scale: npt.NDArray[np.float32], shift: npt.NDArray[np.float32], epsilon: float
    ) -> None: ...
    def add_convolution(
        self,
        kernel: Matrix,
        bias: npt.NDArray[np.float32],
        activation: str,
        shape: list[int],
        reach: list[int],
    ) -> None: ...
    def add_shared_rnn(
        self,
        matrices: list[Matrix],
        bias: npt.NDArray[np.float32],
        affines: Affines | None,
        activation: str,
    ) -> None:
        """Input, recurrent and reverse recurrent matrix; a bias, or nothing and scales and shifts."""
    def add_recurrent(
        self,
        cell: str,
        directions: list[
            tuple[Matrix, Matrix, Matrix | None, npt.NDArray[np.float32], npt.NDArray[np.float32]]
        ],
    ) -> None: ...

def network_transducer(predictor: Network, output: Matrix, bias: npt.NDArray[np.float32]) -> TransducerModel:
    """From indices of tokens, and from sums of encoder and predictor to logits; a level is a stop."""

class NetworkStream:
    """A stream on its way through a network; 0 chunk frames are the whole utterance."""

    def __init__(self, network: Network, chunk_frames: int) -> None: ...
    def reset(self) -> None: ...
    def push(self, frames: npt.NDArray[np.float32]) -> None: ...
    def finish(self) -> None: ...
    @property
    def n_ready(self) -> int: ...
    def cells(self, layer: int) -> list[tuple[list[float], list[float]]]:
        """Of each direction of a recurrent layer: h and c, padded to whole strips."""

def set_threads(n: int) -> None:
    """Threads that compute, the caller's own counted. Raises ValueError unless it is from 1 to 256."""

def threads() -> int: ...
def advance(streams: list[NetworkStream], stops: list[int]) -> list[npt.NDArray[np.float32]]:
    """Logits (n, n_tokens) of the next chunk of every stream, each at its own stop; without the GIL."""

class LanguageModel:
    """See csrc/language/language_model.h."""

    def words(self) -> list[bytes]:
        """Its vocabulary, in UTF-8, with `<s>`, `</s>` and `<unk>`."""
    def log_probs(self, sentence: Sequence[bytes]) -> list[float]:
        """Natural logarithms: of p of each word after `<s>` and those before it, and of the end after all."""

class Ngram(LanguageModel):
    """An n-gram model with back-off; immutable."""

    @property
    def order(self) -> int: ...
    @property
    def n_ngrams(self) -> int: ...
    @property
    def bytes(self) -> int:
        """Of memory for the n-grams, their words apart."""

def read_arpa(text: npt.NDArray[np.uint8]) -> Ngram:
    """The model of the bytes of an ARPA file. Raises ValueError, with a sentence, if they are none."""

def network_word_model(
    words: Sequence[bytes], indices: Sequence[int], network: Network, level: int
) -> LanguageModel:
    """The words that a network goes from one to the next of, at a level, which is a stop.

    words:   the vocabulary, with `<s>`, `</s>` and `<unk>`; indices: what the network calls each.
    """

class Bias:
    """What is added to the scores of token sequences, see csrc/decoder/bias.h; immutable.

    spellings: what each token adds to a text, the blank first; a space first where a word begins.
    hotwords:  phrases as the tokens spell them, and their boosts.
    fusion:    a language model, its scale, a bonus for each word, and what it calls each token if its words
               are single tokens.
    Raises ValueError, with a sentence, if a number is out of its range.
    """

    def __init__(
        self,
        spellings: Sequence[bytes],
        hotwords: Sequence[tuple[bytes, float]],
        fusion: tuple[LanguageModel, float, float, Sequence[bytes]] | None,
    ) -> None: ...

class CtcDecoder:
    """A search of csrc/decoder. Levels are numbers of the caller's own; threads that meet in it take turns.

    A hypothesis is ([(token, frame, log_prob, level), …], log_prob).
    """

    def accept(self, log_probs: npt.NDArray[np.float64], level: int, blank_penalty: float) -> None:
        """Goes on by C-contiguous (n, n_tokens); see `sparrot.engine.decoders`."""
    def accept_logits(self, logits: npt.NDArray[np.float32], level: int, blank_penalty: float) -> None: ...
    def reset(self) -> None: ...
    def best(self) -> tuple[list[tuple[int, int, float, int]], float]: ...
    def hypotheses(self) -> list[tuple[list[tuple[int, int, float, int]], float]]: ...
    def finals(self) -> list[tuple[list[tuple[int, int, float, int]], float]]: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def trailing_blanks(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
    @property
    def n_stable(self) -> int: ...
    @property
    def storage(self) -> tuple[int, int, int]:
        """Nodes of the tree of prefixes, hits of all alignments, bytes of memory."""

def greedy_decoder() -> CtcDecoder: ...
def prefix_beam_decoder(
    beam: int, token_floor: float, margin: float, settle_frames: int, bias: Bias | None
) -> CtcDecoder: ...

class TransducerModel:
    """Predictor and joint network of csrc/decoder/transducer.h, for n hypotheses at levels of their own.

    Arrays are float32 and C-contiguous.
    """

    @property
    def encoder_width(self) -> int: ...
    def start(self, level: int) -> tuple[_Float32, _Float32]:
        """The predictor's state and output before the first token, (1, size) each."""
    def predict(
        self, levels: Sequence[int], tokens: Sequence[int], states: _Float32
    ) -> tuple[_Float32, _Float32]:
        """Both after one more token, from states (n, size)."""
    def join(self, levels: Sequence[int], frames: _Float32, outputs: _Float32) -> _Float32:
        """Logits (n, n_tokens) of the next token, each at a frame of its own."""

_Weights = Mapping[str, npt.NDArray[np.float32]]

def dense_lstm_transducer(levels: Sequence[_Weights]) -> TransducerModel:
    """One LSTM layer over embedded tokens.

    levels: each `embedding` (n_tokens, width), `input` (4 cells, width), `recurrent` (4 cells, cells),
            `bias` (4 cells,); `joint.encoder` (joint, encoder width), `joint.predictor` (joint, cells),
            `joint.bias` (joint,), `joint.output` (n_tokens, joint), `joint.output_bias` (n_tokens,).
            See csrc/decoder/dense_transducer.h.
    """

def dense_stateless_transducer(levels: Sequence[_Weights]) -> TransducerModel:
    """The last two embedded tokens, weighted.

    levels: each `embedding` (n_tokens, width), `taps` (2, width), and the joint network as above.
    """

class TransducerDecoder:
    """A search of csrc/decoder/transducer_search.h; otherwise as `CtcDecoder`."""

    def accept(self, frames: npt.NDArray[np.float32], level: int, blank_penalty: float) -> None:
        """Goes on by C-contiguous (n, encoder width); see `sparrot.engine.transducer`."""
    def reset(self) -> None: ...
    def best(self) -> tuple[list[tuple[int, int, float, int]], float]: ...
    def hypotheses(self) -> list[tuple[list[tuple[int, int, float, int]], float]]: ...
    def finals(self) -> list[tuple[list[tuple[int, int, float, int]], float]]: ...
    @property
    def n_frames(self) -> int: ...
    @property
    def trailing_blanks(self) -> int: ...
    @property
    def n_tokens(self) -> int: ...
    @property
    def n_stable(self) -> int: ...
    @property
    def storage(self) -> tuple[int, int, int]: ...
    @property
    def n_predicted(self) -> int:
        """Contexts of the segment that the predictor was asked for."""

def transducer_greedy_decoder(
    model: TransducerModel, max_symbols: int, bias: Bias | None
) -> TransducerDecoder: ...
def transducer_beam_decoder(
    model: TransducerModel, beam: int, margin: float, settle_frames: int, bias: Bias | None
) -> TransducerDecoder: ...
def accept_together(
    pieces: Sequence[tuple[TransducerDecoder, npt.NDArray[np.float32], int, float]],
) -> list[str | None]:
    """Goes on by frames, level and blank penalty in every search, all stepped together; what went wrong."""

def available_kernels() -> list[str]:
    """Instruction sets of this processor, best first; `scalar` is always the last."""

def chosen_kernels() -> str:
    """The instruction set in use: the best, or the one that the variable SPARROT_ISA names."""

class Product:
    """A sum of segments of weights, times inputs, by one instruction set.

    layout: strip16, dense16, tile4, tile8 or csr; type: float32, bfloat16 (values as uint16) or int8.
    pieces: starts, columns and values of every segment; the first two are None for dense16.
    row_scales: of each row, for int8. Raises ValueError, with a sentence, if an index or a size is wrong.
    """

    def __init__(
        self,
        isa: str,
        layout: str,
        type: str,
        strips: int,
        n_columns: int,
        pieces: Sequence[_Segment],
        row_scales: _Float32 | None = None,
    ) -> None: ...
    def multiply(self, x: _Float32, *, wide: bool, x_scale: float | None = None) -> _Float32:
        """(n, 16 · strips): x (n, n_columns) times the matrix, streams in rows or in wide form inside.

        x_scale: of the int8 codes of x; if None, each row has its own, the largest magnitude / 127.
        """

    def sums(self, x: _Float32, *, wide: bool, x_scale: float | None = None) -> npt.NDArray[np.int32]:
        """(n, 16 · strips): sums of products of int8 codes."""

    def time(self, x: _Float32, *, wide: bool, calls: int) -> list[float]:
        """Seconds of each call: the products alone, without packing and clearing."""

class Functions:
    """Everything else that an instruction set computes. Results are copies."""

    def __init__(self, isa: str) -> None: ...
    def max_abs(self, x: _Float32) -> float: ...
    def tanh(self, x: _Float32) -> _Float32: ...
    def sigmoid(self, x: _Float32) -> _Float32: ...
    def clip(self, x: _Float32, ceiling: float) -> _Float32: ...
    def add(self, x: _Float32, y: _Float32) -> _Float32: ...
    def layer_norm(self, x: _Float32, scale: _Float32, shift: _Float32, epsilon: float) -> _Float32: ...
    def transpose(self, x: _Float32, padded_rows: int) -> _Float32:
        """(columns, padded_rows): x (rows, columns) the other way, zeros past its last row."""

    def lstm(self, sums: _Float32, c: _Float32) -> tuple[_Float32, _Float32]:
        """New c and h (strips, lanes) from sums (strips, 4, lanes)."""

    def gru(self, drive: _Float32, product: _Float32, h: _Float32) -> _Float32:
        """New h (strips, lanes) from the gates (strips, 3, lanes)."""
