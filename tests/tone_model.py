"""A recogniser whose answers are known: it hears pure tones and writes a letter for each.

Tone k has the frequency in the middle of mel filter 2·k + 1, and the letters are

    a b c    tones 0 to 2; the level `small` has lost everything that gives c
    space    tone 3
    shift    tone 4 writes nothing, but from then on tone 0 is written z, until the state is reset

The network is made by hand: a linear layer that finds loud filters, a tanh RNN with a cell for each
tone and one that remembers shift, and a linear layer that writes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sparrot.architecture import Architecture, Linear, Recurrent, Window
from sparrot.features import FeatureConfig, compute_features
from sparrot.model_file import LevelToWrite, ModelDescription, write_model
from sparrot.text import CharacterTokens

RATE_HZ = 16_000
HOP_S = 0.010
WINDOW_S = 0.025
STACK = 2  # feature frames an output frame
CHUNK = 4  # output frames a chunk
TONE_S = 0.12
PAUSE_S = 0.08
N_TONES = 5
N_MELS = 2 * N_TONES + 1
SYMBOLS = ("a", "b", "c", " ", "z")
A, B, C, SPACE, Z = range(1, 6)  # token ids
SHIFT = "^"
TONES = {"a": 0, "b": 1, "c": 2, " ": 3, SHIFT: 4}

PLAIN = FeatureConfig(kind="log_mel", sample_rate_hz=RATE_HZ, n_mels=N_MELS)


def mel_centre_hz(index: int) -> float:
    """The peak of mel filter `index`: equally spaced in 1127 ln(1 + f / 700) from 20 Hz to half the rate."""
    low, high = (1127 * np.log(1 + f / 700) for f in (20.0, RATE_HZ / 2))
    mel = low + (high - low) * (index + 1) / (N_MELS + 1)
    return float(700 * (np.exp(mel / 1127) - 1))


def tone(letter: str, seconds: float = TONE_S, rate_hz: int = RATE_HZ) -> np.ndarray:
    """The sound of a letter, faded in and out over 10 ms."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    fade = np.clip(np.minimum(time, seconds - time) / 0.010, 0, 1)
    return (0.3 * fade * np.sin(2 * np.pi * mel_centre_hz(2 * TONES[letter] + 1) * time)).astype(np.float32)


def silence(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    return np.zeros(round(seconds * rate_hz), np.float32)


def sound(text: str, rate_hz: int = RATE_HZ) -> np.ndarray:
    """The letters of a text, each followed by a pause; `_` is half a second of silence."""
    pieces = [
        silence(0.5, rate_hz)
        if letter == "_"
        else np.concatenate([tone(letter, TONE_S, rate_hz), silence(PAUSE_S, rate_hz)])
        for letter in text
    ]
    return np.concatenate([silence(0, rate_hz), *pieces])


def architecture(*, bidirectional: bool = False) -> Architecture:
    """From N_MELS values a frame to the logits of the blank and SYMBOLS."""
    return Architecture(
        N_MELS,
        (
            Window("context", 1, 1),
            Window("stack", 0, STACK - 1, STACK),
            Linear("ear", N_TONES, "clipped_relu"),
            Recurrent("memory", "rnn", N_TONES + 1, bidirectional=bidirectional),
            Linear("voice", 1 + len(SYMBOLS)),
        ),
    )


def parameters(*, bidirectional: bool = False) -> dict[str, np.ndarray]:
    """The weights that do what the module says; a backward direction contributes nothing."""
    made = architecture(bidirectional=bidirectional)
    shapes = {m.name: (m.rows, m.columns) for m in made.matrices()} | {
        v.name: (v.size,) for v in made.vectors()
    }
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    for k in range(N_TONES):
        for frame in range(STACK):  # the middle of its context
            weights["ear.weight"][k, (3 * frame + 1) * N_MELS + 2 * k + 1] = 2
        weights["memory.input"][k, k] = 2
    weights["memory.input"][N_TONES, TONES[SHIFT]] = 10
    weights["memory.recurrent"][N_TONES, N_TONES] = 4
    weights["memory.bias"][N_TONES] = -1
    voice, bias = weights["voice.weight"], weights["voice.bias"]
    for token, cell in ((A, 0), (B, 1), (C, 2), (SPACE, 3), (Z, 0)):
        voice[token, cell], bias[token] = 12, -6
    voice[A, N_TONES], voice[Z, N_TONES], bias[A], bias[Z] = -6, 6, -12, -12
    return weights


def write_tone_model(
    path: Path,
    *,
    bidirectional: bool = False,
    given: bool = False,
    chunk_frames: int = CHUNK,
    large: Mapping[str, Any] | None = None,
    small: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the model file and returns its path; `large` and `small` are further fields of the levels."""
    kind: dict[str, Any] = (
        {"kind": "given", "width": N_MELS} if given else {"kind": "log_mel", "n_mels": N_MELS}
    )
    features = FeatureConfig(sample_rate_hz=RATE_HZ, mean=(0.0,) * N_MELS, scale=(0.25,) * N_MELS, **kind)
    description = ModelDescription(
        architecture=architecture(bidirectional=bidirectional),
        features=features,
        tokens=CharacterTokens(SYMBOLS),
        chunk_frames=chunk_frames,
        licence="CC0-1.0",
        provenance={"corpus": "pure tones", "command": "by hand"},
        configuration={"seed": 0},
        name="tones",
    )
    weights = parameters(bidirectional=bidirectional)
    without_c = np.ones(weights["voice.weight"].shape, np.bool_)
    without_c[C] = False
    levels = [
        LevelToWrite(
            name="large", kept={}, measured={"tones": {"wer": 0.0, "cer": 0.0, "words": 9}}, **large or {}
        ),
        LevelToWrite(name="small", kept={"voice.weight": without_c}, targets={"fc": 0.1}, **small or {}),
    ]
    write_model(path, description, weights, levels, {"voice.weight": (1, without_c.shape[1])})
    return path


def features_of(wave: np.ndarray) -> np.ndarray:
    """What the model of given features takes: log-mel energies as they are."""
    return compute_features(wave, PLAIN)
