"""From a few numbers to an architecture."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

from sparrot.architecture import (
    Activation,
    AnyArchitecture,
    Architecture,
    BatchNorm,
    Cell,
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

_USED_BY_FRONT: dict[str, tuple[str, ...]] = {
    "none": (),
    "context": ("frames", "stride"),
    "stack": ("frames", "stride"),
    "convolution": ("frames", "stride", "channels"),
    "deepspeech2": ("channels",),
}


@dataclass(frozen=True)
class Front:
    """What stands before the first recurrent layer.

    kind:   none; context: ± `frames` neighbours of each frame; stack: `frames` side by side, one every
            `stride`; convolution: 1-D over time, `frames` wide, one every `stride`, to `channels`;
            deepspeech2: two over 11 frames and 41 bins, then 11 and 21, of `channels` each, which halve the
            bins twice and the frames once (Amodei et al. 2016).

    Raises ValueError for a value that the kind makes no use of, unless it is the default.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["none", "context", "stack", "convolution", "deepspeech2"] = "none"
    frames: int = 1
    stride: int = 1
    channels: int = 256

    def __post_init__(self) -> None:
        used = ("kind", *_USED_BY_FRONT[self.kind])
        others = [field for field in fields(self) if field.name not in used]
        given = [f"`{field.name}`" for field in others if getattr(self, field.name) != field.default]
        if given:
            raise ValueError(
                f"a front of kind {self.kind} makes no use of {', '.join(given)}; leave that out, or choose "
                "another kind"
            )

    def layers(self) -> Iterator[Layer]:
        """None, one, or two."""
        if self.kind == "context":
            yield Window("context", self.frames, self.frames, self.stride)
        elif self.kind == "stack":
            yield Window("stack", 0, self.frames - 1, self.stride)
        elif self.kind == "convolution":
            yield Convolution("conv0", self.channels, self.frames, self.stride, activation="relu")
        elif self.kind == "deepspeech2":
            yield Convolution("conv0", self.channels, 11, 2, kernel_bins=41, stride_bins=2)
            yield Convolution("conv1", self.channels, 11, 1, kernel_bins=21, stride_bins=2)


@dataclass(frozen=True)
class Encoder:
    """Fully connected layers, a stack of equal recurrent ones, and fully connected ones again.

    input_fc:     sizes of the fully connected layers before the recurrent ones.
    layer_norm:   normalises the output of every recurrent layer, frame by frame.
    summed:       bidirectional layers of cell rnn share their input matrix and sum their directions, and have
                  `activation` in the place of tanh (Amodei et al. 2016).
    batch_norm:   normalises over the batch, with statistics for each level: the outputs of recurrent layers
                  (the input products of summed ones), of the hidden fully connected ones and of a convolution
                  in front.
    reduce_after: number of the recurrent layer (from 1) after which frames are concatenated in pairs.
    fc:           sizes of the hidden fully connected layers after them.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    cell: Cell = "lstm"
    layers: int = 3
    cells: int = 256
    projection: int | None = None
    bidirectional: bool = False
    summed: bool = False
    layer_norm: bool = False
    batch_norm: bool = False
    reduce_after: int | None = None
    input_fc: tuple[int, ...] = ()
    fc: tuple[int, ...] = ()
    activation: Activation = "clipped_relu"

    def __post_init__(self) -> None:
        after = self.reduce_after
        if self.layers < 1 or not (after is None or 1 <= after <= self.layers):
            raise ValueError(
                f"an encoder has at least one layer, and reduces time after one it has; got {self.layers} "
                f"layers and reduce_after {self.reduce_after}"
            )
        plain = self.cell == "rnn" and self.bidirectional and self.projection is None
        if self.summed and not plain:
            raise ValueError(
                "only the directions of a plain RNN are summed: with `summed`, set cell to rnn and "
                "bidirectional to true, and leave projection out"
            )
        if self.layer_norm and self.batch_norm:
            raise ValueError(
                "an encoder has one norm: choose layer_norm or batch_norm, and leave the other out"
            )


@dataclass(frozen=True)
class Predictor:
    """What makes a transducer of a recogniser: a network of the text so far, and what joins it to the speech.

    kind:       lstm, or stateless: only the last `context` tokens count (Ghodsi et al. 2020).
    embedding:  values that stand for a token.
    layers:     recurrent layers of an lstm, each of `cells` cells and, if given, a `projection`.
    layer_norm: normalises the output of every recurrent layer.
    joint:      values that both sides are added in. A side of another width ends in a linear layer; so does
                every stateless predictor.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    kind: Literal["lstm", "stateless"] = "lstm"
    embedding: int = 128
    layers: int = 1
    cells: int = 256
    projection: int | None = None
    layer_norm: bool = False
    context: int = 2
    joint: int = 256

    def __post_init__(self) -> None:
        sizes = {name: getattr(self, name) for name in ("embedding", "layers", "cells", "context", "joint")}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"`{name}` of a predictor is at least 1; got {size}")
        unused = ("context",) if self.kind == "lstm" else ("layers", "cells", "projection", "layer_norm")
        given = [
            f"`{f.name}`" for f in fields(self) if f.name in unused and getattr(self, f.name) != f.default
        ]
        if given:
            raise ValueError(
                f"a predictor of kind {self.kind} makes no use of {', '.join(given)}; leave that out, or "
                "choose the other kind"
            )

    def build(self, n_tokens: int) -> Architecture:
        """From tokens to the joint's values."""
        layers: list[Layer] = [Embedding("predictor_embedding", n_tokens, self.embedding)]
        if self.kind == "stateless":
            layers.append(Window("predictor_context", self.context - 1, 0, 1))
            layers.append(Linear("predictor_output", self.joint, "relu"))
            return Architecture(1, tuple(layers))
        for i in range(self.layers):
            layers.append(Recurrent(f"predictor_lstm{i}", "lstm", self.cells, self.projection))
            if self.layer_norm:
                layers.append(LayerNorm(f"predictor_norm{i}"))
        return Architecture(1, (*layers, *_to_width(self.joint, self.projection or self.cells, "predictor")))


def build_architecture(
    input_width: int, front: Front, encoder: Encoder, n_tokens: int, predictor: Predictor | None = None
) -> AnyArchitecture:
    """The architecture of a recogniser: front, recurrent layers, fully connected layers, `output`.

    predictor: of a transducer; without one it is a CTC recogniser.
    """
    layers = (
        *_front(front, encoder),
        *_connected(encoder, "input_fc", encoder.input_fc),
        *_recurrent(encoder),
        *_connected(encoder, "fc", encoder.fc),
    )
    if predictor is None:
        return Architecture(input_width, (*layers, Linear("output", n_tokens)))
    width = Architecture(input_width, layers).n_tokens
    heard = Architecture(input_width, (*layers, *_to_width(predictor.joint, width, "encoder")))
    return Transducer(heard, predictor.build(n_tokens), Linear("output", n_tokens))


def _to_width(joint: int, given: int, side: str) -> Iterator[Layer]:
    """A linear layer where a side of a transducer has another width than the joint."""
    if given != joint:
        yield Linear(f"{side}_output", joint)


def _front(front: Front, encoder: Encoder) -> Iterator[Layer]:
    for layer in front.layers():
        yield layer
        if encoder.batch_norm and isinstance(layer, Convolution):
            yield BatchNorm(f"{layer.name}_norm")


def _recurrent(encoder: Encoder) -> Iterator[Layer]:
    for i in range(encoder.layers):
        name = f"{encoder.cell}{i}"
        if encoder.summed:
            yield SharedRnn(name, encoder.cells, encoder.batch_norm, encoder.activation)
        else:
            yield Recurrent(name, encoder.cell, encoder.cells, encoder.projection, encoder.bidirectional)
        if encoder.layer_norm:
            yield LayerNorm(f"norm{i}")
        if encoder.batch_norm and not encoder.summed:
            yield BatchNorm(f"norm{i}")
        if encoder.reduce_after == i + 1:
            yield Window("reduction", 0, 1, 2)


def _connected(encoder: Encoder, name: str, sizes: tuple[int, ...]) -> Iterator[Layer]:
    for i, size in enumerate(sizes):
        yield Linear(f"{name}{i}", size, encoder.activation)
        if encoder.batch_norm:
            yield BatchNorm(f"{name}{i}_norm")
