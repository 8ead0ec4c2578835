"""Log-probabilities of tokens, what the network hands to a decoder."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparrot.engine.frames import Float32
from sparrot.text import BLANK


def log_softmax(logits: ArrayLike) -> Float32:
    """Natural log-probabilities of `logits` (n, n_tokens), each row by itself, float32.

        log p[k] = x[k] − m − log(Σ_j exp(x[j] − m)),   m = max x

    Raises ValueError if a logit is not finite.
    """
    values = np.asarray(logits, np.float32)
    if not np.isfinite(values).all():
        raise ValueError("the network's output is not finite: its weights or the features are out of range")
    shifted: Float32 = values - values.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted


def penalised(log_probs: ArrayLike, blank_penalty: float) -> NDArray[np.float64]:
    """A float64 copy of `log_probs` (n, n_tokens), the blank's lowered by `blank_penalty`.

    Raises ValueError if a row has no finite best token, or the array not two tokens or more.
    """
    rows = np.array(log_probs, np.float64)
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise ValueError(
            f"a decoder takes log-probabilities (n_frames, n_tokens) of the blank and at least one more "
            f"token; got an array of shape {rows.shape}"
        )
    if not np.isfinite(rows.max(axis=1)).all():
        raise ValueError("a frame's log-probabilities hold a NaN, or no token is possible at all")
    rows[:, BLANK] -= blank_penalty
    return rows
