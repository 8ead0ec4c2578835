"""Recurrent layers: the input products of a block at once, then one recurrent product a frame.

`sigmoid(x) = (1 + tanh(x / 2)) / 2` throughout: it overflows nowhere, and its absolute error is
that of tanh, under 2^-23.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from numpy_runner.frames import Float32
from numpy_runner.layers import activate, transposed
from sparrot.architecture import Cell, Recurrent, SharedRnn

_BLOCK = 256  # frames whose input products are held at a time


@dataclass
class CellState:
    """What one direction of a recurrent layer remembers; all zero at the start of a segment.

    hidden: float32 (hidden,), the last output.
    memory: float32 (cells,), the LSTM's c; it stays zero in other cells.
    """

    hidden: Float32
    memory: Float32

    @classmethod
    def fresh(cls, layer: Recurrent) -> "CellState":
        """The state before the first frame."""
        return cls(np.zeros(layer.hidden, np.float32), np.zeros(layer.cells, np.float32))


class RunningRecurrent:
    """One recurrent layer; each direction goes through the frames in its own order."""

    def __init__(self, layer: Recurrent, parameters: Mapping[str, Float32]) -> None:
        self._directions = [_Direction(layer, prefix, parameters) for prefix in layer.prefixes]

    def __call__(self, frames: Float32, states: tuple[CellState, ...]) -> Float32:
        """Hidden states (n, hidden · directions) of `frames` (n, 1, width); `states` move on."""
        forward = self._directions[0].run(frames[:, 0], states[0])
        if len(self._directions) == 1:
            return forward
        backward = self._directions[1].run(np.ascontiguousarray(frames[::-1, 0]), states[1])
        return np.concatenate([forward, backward[::-1]], axis=1)


class RunningSharedRnn:
    """Both directions of an utterance on the same drives, and their sum."""

    def __init__(self, layer: SharedRnn, parameters: Mapping[str, Float32]) -> None:
        own = {name.removeprefix(f"{layer.name}."): value for name, value in parameters.items()}
        matrices = ("input", "recurrent", "reverse.recurrent")
        self._input, *self._recurrent = (transposed(own[name]) for name in matrices)
        self._scale = own.get("scale", np.float32(1)).copy()
        self._shift = own["shift" if layer.batch_norm else "bias"].copy()
        self._activation = layer.activation

    def __call__(self, frames: Float32) -> Float32:
        """Outputs (n, cells) of a whole utterance, frames (n, 1, width)."""
        drives = frames[:, 0] @ self._input
        drives *= self._scale
        drives += self._shift
        forward, backward = self._recurrent
        return self._run(drives, forward) + self._run(drives[::-1], backward)[::-1]

    def _run(self, drives: Float32, recurrent: Float32) -> Float32:
        outputs = np.empty_like(drives)
        hidden = np.zeros(drives.shape[1], np.float32)
        for drive, output in zip(drives, outputs, strict=True):
            np.dot(hidden, recurrent, out=output)
            np.add(output, drive, out=output)
            hidden = activate(output, self._activation)
        return outputs


class _Direction:
    """The weights of one direction, transposed, and the loop over its frames."""

    def __init__(self, layer: Recurrent, prefix: str, parameters: Mapping[str, Float32]) -> None:
        self.recurrent = transposed(parameters[f"{prefix}.recurrent"])
        self.hidden, self.cells = layer.hidden, layer.cells
        self.projection: Float32 | None = None
        if layer.projection is not None:
            self.projection = transposed(parameters[f"{prefix}.projection"])
        self.candidate_bias = parameters.get(f"{prefix}.candidate_bias", np.zeros(0, np.float32)).copy()
        self._input = transposed(parameters[f"{prefix}.input"])
        self._bias = parameters[f"{prefix}.bias"].copy()
        self._step = _STEPS[layer.cell]

    def run(self, frames: Float32, state: CellState) -> Float32:
        """Hidden states (n, hidden) of `frames` (n, width); `state` becomes that after the last."""
        outputs = np.empty((len(frames), self.hidden), np.float32)
        for begin in range(0, len(frames), _BLOCK):
            block = slice(begin, begin + _BLOCK)
            drives = frames[block] @ self._input
            drives += self._bias
            self._step(self, drives, state, outputs[block])
        return outputs


def _sigmoid(values: Float32) -> None:
    """In place."""
    values *= 0.5
    np.tanh(values, out=values)
    values *= 0.5
    values += 0.5


def _step_lstm(weights: _Direction, drives: Float32, state: CellState, outputs: Float32) -> None:
    """Each frame, i, f, o = sigmoid(drive), g = tanh(drive);  c = f c + i g;  h = P (o tanh(c))."""
    cells = weights.cells
    gates = np.empty(4 * cells, np.float32)
    admit, keep, candidate, emit = gates.reshape(4, cells)
    through = gates[: 2 * cells]
    hidden, memory = state.hidden, state.memory
    for drive, output in zip(drives, outputs, strict=True):
        np.dot(hidden, weights.recurrent, out=gates)
        gates += drive
        _sigmoid(through)
        np.tanh(candidate, out=candidate)
        _sigmoid(emit)
        memory *= keep
        candidate *= admit
        memory += candidate
        emit *= np.tanh(memory, out=candidate)
        hidden = output
        if weights.projection is None:
            hidden[:] = emit
        else:
            np.dot(emit, weights.projection, out=hidden)
    state.hidden = hidden.copy()


def _step_gru(weights: _Direction, drives: Float32, state: CellState, outputs: Float32) -> None:
    """Each frame, r, z = sigmoid(drive);  n = tanh(W x + b + r (U h + b'));  h = n + z (h − n)."""
    cells = weights.cells
    product = np.empty(3 * cells, np.float32)
    reset, update, candidate = product.reshape(3, cells)
    through = product[: 2 * cells]
    hidden = state.hidden
    for drive, output in zip(drives, outputs, strict=True):
        np.dot(hidden, weights.recurrent, out=product)
        through += drive[: 2 * cells]
        _sigmoid(through)
        candidate += weights.candidate_bias
        candidate *= reset
        candidate += drive[2 * cells :]
        np.tanh(candidate, out=candidate)
        np.subtract(hidden, candidate, out=output)
        np.multiply(output, update, out=output)
        np.add(output, candidate, out=output)
        hidden = output
    state.hidden = hidden.copy()


def _step_rnn(weights: _Direction, drives: Float32, state: CellState, outputs: Float32) -> None:
    """Each frame, h = tanh(W x + b + U h)."""
    hidden = state.hidden
    for drive, output in zip(drives, outputs, strict=True):
        np.dot(hidden, weights.recurrent, out=output)
        np.add(output, drive, out=output)
        hidden = np.tanh(output, out=output)
    state.hidden = hidden.copy()


_Step: TypeAlias = Callable[[_Direction, Float32, CellState, Float32], None]
_STEPS: dict[Cell, _Step] = {"lstm": _step_lstm, "gru": _step_gru, "rnn": _step_rnn}
