"""How far float32 may be from exact in an LSTM layer and its gradients, by `rounding.Rounded`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rounding import Rounded, gamma

Parameters = Mapping[str, np.ndarray]  # float32: input, recurrent, bias and perhaps projection
PARTS = ("input", "recurrent", "projection", "bias")


@dataclass(frozen=True)
class Frame:
    """What one frame leaves; h_before, c_before are the states that it met."""

    x: Rounded
    h_before: Rounded
    c_before: Rounded
    gates: tuple[Rounded, Rounded, Rounded, Rounded]  # σ(i), σ(f), tanh(g), σ(o)
    squashed: Rounded  # tanh(c)
    made: Rounded  # h before its projection


def forward(own: Parameters, utterance: np.ndarray) -> tuple[list[Frame], list[Rounded]]:
    """The frames of one utterance (n_frames, width), and h of each."""
    cells = own["bias"].size // 4
    h, c = (Rounded.exact(np.zeros(n)) for n in (own["recurrent"].shape[1], cells))
    frames, outputs = [], []
    for x in map(Rounded.exact, utterance):
        sums = x.matvec(own["input"]) + Rounded.exact(own["bias"]) + h.matvec(own["recurrent"])
        i, f, g, o = (sums[k * cells : (k + 1) * cells] for k in range(4))
        gates = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        after = gates[1] * c + gates[0] * gates[2]
        squashed = after.tanh()
        made = gates[3] * squashed
        frames.append(Frame(x, h, c, gates, squashed, made))
        h, c = made.matvec(own["projection"]) if "projection" in own else made, after
        outputs.append(h)
    return frames, outputs


def gradients(own: Parameters, batch: np.ndarray, d_y: np.ndarray) -> dict[str, Rounded]:
    """Of every parameter, and of the frames, (n_utterances · n_frames, width); d_y is that of h."""
    summed: dict[str, list[tuple[Rounded, Rounded]]] = {part: [] for part in PARTS}
    of_frames = []
    for utterance, given in zip(batch, d_y, strict=True):
        frames, _ = forward(own, utterance)
        back = list(_through_time(own, frames, given))[::-1]
        for frame, (d_h, d_gates) in zip(frames, back, strict=True):
            summed["input"].append((d_gates, frame.x))
            summed["recurrent"].append((d_gates, frame.h_before))
            summed["projection"].append((d_h, frame.made))
            summed["bias"].append((d_gates, Rounded.exact([1.0])))
            of_frames.append(d_gates.matvec(own["input"].T))
    found = {part: sum_of_products(summed[part]) for part in own}
    found["bias"] = found["bias"][:, 0]
    return {**found, "frames": _stacked(of_frames)}


def _through_time(own: Parameters, frames: Sequence[Frame], d_y: np.ndarray):
    """The gradients of h and of what the gates' functions are given, last frame first."""
    one, later, d_c = Rounded.exact([1.0]), None, Rounded.exact(np.zeros(own["bias"].size // 4))
    for frame, given in zip(frames[::-1], d_y[::-1], strict=True):
        d_h = Rounded.exact(given) if later is None else Rounded.exact(given) + later
        d_made = d_h.matvec(own["projection"].T) if "projection" in own else d_h
        i, f, g, o = frame.gates
        d_c = d_c + d_made * o * (one - frame.squashed * frame.squashed)
        d_gates = _joined(
            [
                d_c * g * i * (one - i),
                d_c * frame.c_before * f * (one - f),
                d_c * i * (one - g * g),
                d_made * frame.squashed * o * (one - o),
            ]
        )
        yield d_h, d_gates
        d_c = d_c * f
        later = d_gates.matvec(own["recurrent"].T)


def sum_of_products(pairs: Sequence[tuple[Rounded, Rounded]]) -> Rounded:
    """Σ a bᵀ, in any order."""
    value = sum(np.outer(a.value, b.value) for a, b in pairs)
    carried = sum(np.outer(a.magnitude, b.error) + np.outer(a.error, abs(b.value)) for a, b in pairs)
    magnitude = sum(np.outer(a.magnitude, b.magnitude) for a, b in pairs)
    return Rounded(value, carried + gamma(len(pairs)) * magnitude + len(pairs) * 2.0**-149)


def _joined(parts: Sequence[Rounded]) -> Rounded:
    return Rounded(np.concatenate([p.value for p in parts]), np.concatenate([p.error for p in parts]))


def _stacked(parts: Sequence[Rounded]) -> Rounded:
    return Rounded(np.stack([p.value for p in parts]), np.stack([p.error for p in parts]))
