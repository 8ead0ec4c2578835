"""A transducer whose answers are known: it hears the tones of `tone_model`, and writes where each begins.

    a b c    tones 0 to 2; the level `small` has lost everything that gives c
    space    tone 3
    again    tone 4 writes the last letter once more, and nothing if there is none

The encoder is that of the tone model up to its RNN; then it looks one frame back, so that it knows where a
tone begins. `again` needs the predictor, which knows the last token. In the joint network a hidden unit is 1
if a tone begins, or if `again` does after its token, and −1 otherwise.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

import tone_model
from sparrot.architecture import Architecture, Embedding, Layer, Linear, Recurrent, Transducer, Window
from sparrot.features import FeatureConfig
from sparrot.model_file import LevelToWrite, ModelDescription, Storage, WeightType, write_model
from sparrot.text import CharacterTokens
from tone_model import CHUNK, N_MELS, N_TONES, RATE_HZ

Kind = Literal["lstm", "stateless"]

SYMBOLS = ("a", "b", "c", " ")
N_SYMBOLS = len(SYMBOLS)
JOINT = 2 * N_SYMBOLS  # of a tone that begins, and of `again`
AGAIN = "^"
SURE = 6.0  # log-odds of a letter that is written, or is not


def architecture(kind: Kind, *, bidirectional: bool = False) -> Transducer:
    context, stack, ear, _, _ = tone_model.architecture().layers
    memory = Recurrent("memory", "rnn", N_TONES, bidirectional=bidirectional)
    encoder = (context, stack, ear, memory, Window("before", 1, 0), Linear("encoder_output", JOINT))
    predictor: tuple[Layer, ...] = (Window("predictor_context", 1, 0),)
    if kind == "lstm":
        predictor = (Recurrent("predictor_lstm", "lstm", N_SYMBOLS),)
    embedding, output = Embedding("embedding", 1 + N_SYMBOLS, N_SYMBOLS), Linear("predictor_output", JOINT)
    return Transducer(
        Architecture(N_MELS, encoder),
        Architecture(1, (embedding, *predictor, output)),
        Linear("output", 1 + N_SYMBOLS),
    )


def parameters(kind: Kind, *, bidirectional: bool = False) -> dict[str, np.ndarray]:
    """The weights that do what the module says; a backward direction contributes nothing."""
    made = architecture(kind, bidirectional=bidirectional)
    shapes = {m.name: (m.rows, m.columns) for m in made.matrices()} | {
        v.name: (v.size,) for v in made.vectors()
    }
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["ear.weight"] = tone_model.parameters()["ear.weight"]
    weights["memory.input"][:N_TONES] = 20 * np.eye(N_TONES)  # 1 where a tone is, and 0 where none is
    heard, before = weights["encoder_output.weight"], shapes["encoder_output.weight"][1] // 2
    for k in range(N_SYMBOLS):
        heard[k, [k, before + k]] = -12, 12
        heard[N_SYMBOLS + k, [N_TONES - 1, before + N_TONES - 1]] = -12, 12
    weights["encoder_output.bias"][:] = [-6] * N_SYMBOLS + [-12] * N_SYMBOLS
    weights["embedding.table"][1:] = np.eye(N_SYMBOLS)
    said = weights["predictor_output.weight"]
    if kind == "lstm":
        gates = weights["predictor_lstm.bias"].reshape(4, N_SYMBOLS)
        gates[:] = [
            [20],
            [-20],
            [-20],
            [20],
        ]  # lets everything in, forgets everything, and nothing is said yet
        weights["predictor_lstm.input"][2 * N_SYMBOLS : 3 * N_SYMBOLS] = 40 * np.eye(N_SYMBOLS)
        said[N_SYMBOLS:] = 6 / np.tanh(1) * np.eye(N_SYMBOLS)
    else:
        said[N_SYMBOLS:, N_SYMBOLS:] = 12 * np.eye(N_SYMBOLS)
        weights["predictor_output.bias"][N_SYMBOLS:] = -6
    weights["output.weight"][1:] = SURE * np.hstack([np.eye(N_SYMBOLS)] * 2)
    weights["output.bias"][1:] = SURE
    return weights


def write_tone_transducer(
    path: Path,
    kind: Kind = "lstm",
    dtype: WeightType = "F32",
    *,
    bidirectional: bool = False,
    chunk_frames: int = CHUNK,
    doubt: float = 0.0,
    large: dict[str, Any] | None = None,
) -> Path:
    """Writes the model file and returns its path.

    doubt: taken from the log-odds of every letter; large: further fields of that level.
    """
    made = architecture(kind, bidirectional=bidirectional)
    description = ModelDescription(
        architecture=made,
        features=FeatureConfig(
            kind="log_mel",
            n_mels=N_MELS,
            sample_rate_hz=RATE_HZ,
            mean=(0.0,) * N_MELS,
            scale=(0.25,) * N_MELS,
        ),
        tokens=CharacterTokens(SYMBOLS),
        chunk_frames=chunk_frames,
        licence="CC0-1.0",
        provenance={"corpus": "pure tones", "command": "by hand"},
        configuration={"seed": 0},
        name="tone transducer",
    )
    weights = parameters(kind, bidirectional=bidirectional)
    weights["output.bias"][1:] -= doubt
    without_c = np.ones(weights["encoder_output.weight"].shape, np.bool_)
    without_c[SYMBOLS.index("c")] = False
    levels = [
        LevelToWrite(name="large", kept={}, **large or {}),
        LevelToWrite(name="small", kept={"encoder_output.weight": without_c}, targets={"fc": 0.1}),
    ]
    blocks = {"encoder_output.weight": (1, without_c.shape[1])}
    dtypes = {matrix.name: dtype for matrix in made.matrices()}
    write_model(path, description, weights, levels, Storage(blocks, dtypes))
    return path
