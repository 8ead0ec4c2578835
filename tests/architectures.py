"""Small networks of every kind, and parameters for them."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from sparrot.architecture import (
    AnyArchitecture,
    Architecture,
    BatchNorm,
    Convolution,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    Recurrent,
    SharedRnn,
    Transducer,
    Window,
)

ACTIVATIONS = st.sampled_from(["identity", "relu", "clipped_relu", "tanh"])
WIDTHS = st.integers(1, 5)


def parameters(architecture: AnyArchitecture, seed: int, scale: float = 0.25) -> dict[str, np.ndarray]:
    """Uniform weights, float32."""
    rng = np.random.default_rng(seed)
    shapes = {matrix.name: (matrix.rows, matrix.columns) for matrix in architecture.matrices()}
    shapes |= {vector.name: (vector.size,) for vector in architecture.vectors()}
    return {name: rng.uniform(-scale, scale, shape).astype(np.float32) for name, shape in shapes.items()}


def features(architecture: Architecture, n_frames: int, seed: int = 0) -> np.ndarray:
    """Normal frames, float32; indices of tokens if they are looked up."""
    rng = np.random.default_rng(seed)
    if architecture.n_indices is not None:
        return rng.integers(architecture.n_indices, size=(n_frames, 1)).astype(np.float32)
    return rng.standard_normal((n_frames, architecture.input_width)).astype(np.float32)


def _is_bent(activation: str) -> bool:
    return activation != "identity"


@st.composite
def layers(draw, name: str, *, streaming: bool) -> Layer:
    kinds = ["window", "convolution", "plane", "lstm", "gru", "rnn", "norm", "batch_norm", "linear"]
    kind = draw(st.sampled_from(kinds if streaming else [*kinds, "shared_rnn"]))
    if kind == "window":
        return Window(name, *draw(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 4))))
    if kind in ("convolution", "plane"):
        over_bins = (draw(st.sampled_from([1, 3])), draw(st.integers(1, 2))) if kind == "plane" else (None, 1)
        channels, kernel, stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3)))
        return Convolution(name, channels, kernel, stride, *over_bins, draw(ACTIVATIONS))
    if kind == "norm":
        return LayerNorm(name)
    if kind == "batch_norm":
        return BatchNorm(name)
    if kind == "linear":
        return Linear(name, draw(WIDTHS), draw(ACTIVATIONS))
    cells = draw(st.integers(2, 5))
    if kind == "shared_rnn":
        return SharedRnn(name, cells, *draw(st.tuples(st.booleans(), ACTIVATIONS.filter(_is_bent))))
    projection = draw(st.none() | st.integers(1, cells - 1)) if kind == "lstm" else None
    return Recurrent(name, kind, cells, projection, False if streaming else draw(st.booleans()))


@st.composite
def architectures(draw, *, streaming: bool) -> Architecture:
    """Up to four layers in any order, tokens looked up before them or not, then that of the logits."""
    n_layers = draw(st.integers(0, 4))
    body = [draw(layers(f"layer{index}", streaming=streaming)) for index in range(n_layers)]
    assume(sum(isinstance(layer, LayerNorm) for layer in body) <= 2)  # each can make errors 300 times larger
    output = Linear("output", draw(st.integers(2, 4)))
    if draw(st.integers(0, 4)) == 4:
        embedding = Embedding("embedding", draw(st.integers(1, 40)), draw(WIDTHS))
        return Architecture(1, (embedding, *body, output))
    return Architecture(draw(WIDTHS), (*body, output))


@st.composite
def transducers(draw) -> Transducer:
    """A small encoder, a predictor of any layers that it may have, and up to 20 tokens."""
    n_tokens, joint = draw(st.integers(2, 20)), draw(st.integers(1, 21))
    body: list[Layer] = [Embedding("embedding", n_tokens, draw(st.integers(1, 18)))]
    kinds = st.lists(st.sampled_from(["window", "lstm", "gru", "rnn", "norm", "linear"]), max_size=3)
    for index, kind in enumerate(draw(kinds.filter(lambda kinds: kinds.count("norm") <= 1))):
        name, cells = f"predictor{index}", draw(st.integers(2, 19))
        if kind == "window":
            body.append(Window(name, draw(st.integers(0, 3)), 0))
        elif kind == "norm":
            body.append(LayerNorm(name))
        elif kind == "linear":
            body.append(Linear(name, cells, draw(ACTIVATIONS)))
        else:
            projection = draw(st.none() | st.integers(1, cells - 1)) if kind == "lstm" else None
            body.append(Recurrent(name, kind, cells, projection))
    predictor = Architecture(1, (*body, Linear("predictor_output", joint)))
    encoder = Architecture(
        3, (Window("stack", 0, 1, 2), Recurrent("lstm", "lstm", 9, 4), Linear("fc", joint))
    )
    return Transducer(encoder, predictor, Linear("output", n_tokens))
