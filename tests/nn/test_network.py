"""A padded batch against each utterance alone, and the network that runs against the one that trains."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rounding
from architectures import architectures, features
from numpy_runner.network import Network
from sparrot.architecture import (
    Architecture,
    Convolution,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    SharedRnn,
    Window,
)
from sparrot.nn import CtcNetwork, layers
from sparrot.nn.batch_norm import BatchNorm
from sparrot.sparsity import BlockShape, CubicSchedule, DynamicSparsity, Levels

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")

FLOAT64 = {"rtol": 1e-9, "atol": 1e-11}  # sums of tens of values in other orders, gradients of 12 frames
EVERY_LAYER = Architecture(
    5,
    (
        Convolution("planes", 2, kernel=3, kernel_bins=3, stride_bins=2, activation="tanh"),
        Convolution("time", 4, kernel=4, stride=2),
        Window("context", 1, 2),
        LayerNorm("norm"),
        Recurrent("lstm", "lstm", 5, projection=3, bidirectional=True),
        Recurrent("gru", "gru", 4),
        Recurrent("rnn", "rnn", 3, bidirectional=True),
        Linear("fc", 4, "clipped_relu"),
        Linear("output", 3),
    ),
)


def network(architecture: Architecture, seed: int = 0) -> CtcNetwork:
    """A network as it runs after training, its batch norms with some statistics or other."""
    torch.manual_seed(seed)
    made = CtcNetwork(architecture)
    for norm in batch_norms(made):
        for values in (norm.means, norm.scale, norm.shift):
            nn.init.uniform_(values, -0.5, 0.5)
        norm.variances.uniform_(0.5, 2.0)
        norm.n_updates += 1
    return made.eval()


def batch_norms(module: CtcNetwork) -> list[BatchNorm]:
    return [part for part in module.modules() if isinstance(part, BatchNorm)]


def summed(logits: torch.Tensor) -> torch.Tensor:
    """A scalar that weighs every logit differently."""
    return (logits * torch.arange(1.0, 1.0 + logits.numel(), dtype=logits.dtype).view_as(logits).sin()).sum()


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


# a batch


@settings(max_examples=60)
@given(architectures(streaming=False), st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(0, 3))
def test_a_padded_batch_is_each_utterance_alone(architecture, lengths, n_spare):
    module = network(architecture).double()
    frames = torch.full((len(lengths), max(lengths) + n_spare, architecture.input_width), torch.nan).double()
    for i, length in enumerate(lengths):
        frames[i, :length] = torch.tensor(features(architecture, length, seed=i))
    together, output_lengths = module(frames, torch.tensor(lengths))
    assert output_lengths.tolist() == [architecture.output_frames(n) for n in lengths]
    rows = [row[:n] for row, n in zip(together, output_lengths.tolist(), strict=True)]
    sum(summed(row) for row in rows).backward()
    of_batch = gradients(module)
    for i, length in enumerate(lengths):
        alone = module(frames[i : i + 1, :length], torch.tensor([length]))[0][0]
        torch.testing.assert_close(rows[i], alone, **FLOAT64)
        summed(alone).backward()
    torch.testing.assert_close(of_batch, gradients(module), **FLOAT64)


def test_a_plain_relu_does_not_grow_in_the_padding():
    """At 50 times a frame it would be infinite after 23 of them, and 0 · ∞ would reach the gradients."""
    module = CtcNetwork(Architecture(2, (SharedRnn("rnn", 3, False, "relu"),)))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(50.0 / 3)
    frames = torch.ones(2, 60, 2)
    logits, _ = module(frames, torch.tensor([3, 60]))
    assert torch.isinf(logits[1]).any()
    assert logits[0, 3:].count_nonzero() == 0
    logits, _ = module(frames[:1], torch.tensor([3]))
    logits[0, :3].sum().backward()
    of_padded = gradients(module)
    module(frames[:1, :3], torch.tensor([3]))[0].sum().backward()
    torch.testing.assert_close(of_padded, gradients(module))


def test_a_batch_may_hold_an_utterance_of_no_frames():
    module = network(EVERY_LAYER)
    frames = torch.tensor(features(EVERY_LAYER, 4))[None].repeat(2, 1, 1)
    logits, lengths = module(frames, torch.tensor([4, 0]))
    assert lengths.tolist() == [2, 0]
    torch.testing.assert_close(logits[0], module(frames[:1], torch.tensor([4]))[0][0])


@pytest.mark.parametrize(
    ("layers", "zeros"),
    [
        ((Recurrent("rnn", "rnn", 50), Linear("fc", 50), Linear("output", 9)), [0, 0.5, 0]),
        ((Linear("fc", 50, "tanh"), LayerNorm("norm"), Recurrent("rnn", "rnn", 50)), [0, 0.5, 0]),
        ((Recurrent("a", "rnn", 50), LayerNorm("norm"), Recurrent("b", "rnn", 50)), [0, 0.5, 0]),
    ],
)
def test_dropout_follows_recurrent_layers_and_linear_ones_before_them(layers, zeros):
    module = CtcNetwork(Architecture(3, layers), dropout=0.5)
    found = []
    for layer in module.layers.values():
        layer.register_forward_pre_hook(lambda _, x: found.append((x[0] == 0.0).float().mean().item()))
    module(torch.randn(2, 60, 3), torch.tensor([60, 60]))
    assert found == pytest.approx(zeros, abs=0.1)


def test_what_dropout_leaves_is_scaled_up_and_running_drops_nothing():
    module = CtcNetwork(Architecture(3, (LayerNorm("norm"), Recurrent("rnn", "rnn", 50))), dropout=0.5)
    frames, lengths = torch.randn(2, 6, 3), torch.tensor([6, 6])
    in_training = module(frames, lengths)[0]
    dropped = in_training == 0.0
    assert 0.3 < dropped.float().mean() < 0.7
    running = module.eval()(frames, lengths)[0]
    torch.testing.assert_close(in_training[~dropped], 2 * running[~dropped])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn", "projected"])
def test_two_directions_are_those_of_packed_sequences(cell):
    kind, projection = ("lstm", 3) if cell == "projected" else (cell, None)
    module = network(Architecture(4, (Recurrent("r", kind, 5, projection, bidirectional=True),))).double()
    sizes = {} if projection is None else {"proj_size": projection}
    reference = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
    reference = reference(4, 5, batch_first=True, bidirectional=True, **sizes).double()
    ours = module.layers["r"]
    state = ours.ahead.state_dict() | {f"{k}_reverse": v for k, v in ours.back.state_dict().items()}
    reference.load_state_dict(state)
    frames, lengths = torch.randn(3, 7, 4, dtype=torch.float64), torch.tensor([7, 2, 5])
    packed = nn.utils.rnn.pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
    expected, _ = nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)
    output, _ = module(frames, lengths)
    inside = torch.arange(7)[None, :] < lengths[:, None]
    torch.testing.assert_close(output[inside], expected[inside], rtol=1e-12, atol=1e-12)


def test_the_forget_gate_starts_open():
    exported = network(EVERY_LAYER).export()
    for prefix in ("lstm", "lstm.reverse"):
        np.testing.assert_array_equal(exported[f"{prefix}.bias"][5:10], np.ones(5, np.float32))


# export


@pytest.mark.parametrize("activation", ["identity", "relu", "clipped_relu", "tanh"])
def test_large_values_meet_the_same_activation(activation):
    architecture = Architecture(1, (Linear("output", 1, activation),))
    module = network(architecture)
    with torch.no_grad():
        module.layers["output"].linear.weight.fill_(1.0)
        module.layers["output"].linear.bias.zero_()
    frames = np.array([[-30], [-1], [0], [1], [19.5], [20], [20.5], [30]], np.float32)
    ours = module(torch.tensor(frames)[None], torch.tensor([8]))[0][0].detach().numpy()
    np.testing.assert_allclose(ours, Network(architecture, module.export()).run(frames), rtol=1e-6)


def with_exact_biases(module: CtcNetwork) -> CtcNetwork:
    """Biases rounded to multiples of 2^-12, so that sums of two have no rounding of their own."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "bias" in name:
                parameter.copy_((parameter * 4096).round() / 4096)
    return module


def with_exported_norms(module: CtcNetwork, exported: dict[str, np.ndarray]) -> CtcNetwork:
    """The module in float64, its batch norms scaling and shifting by the very float32 that were exported."""
    module.double()
    for name, layer in module.layers.items():
        norm = layer.norm if isinstance(layer, layers.SharedRnn) else layer
        if isinstance(norm, BatchNorm):
            norm.load_state_dict(
                {
                    "scale": torch.tensor(exported[f"{name}.scale"]),
                    "shift": torch.tensor(exported[f"{name}.shift"]),
                    "means": torch.zeros_like(norm.means),
                    "variances": torch.full_like(norm.variances, 1.0 - norm.epsilon),
                    "n_updates": norm.n_updates,
                }
            )
    return module


@settings(max_examples=60)
@given(architectures(streaming=False), st.integers(1, 12), st.integers(0, 99))
def test_the_exported_network_runs_as_it_was_trained(architecture, n_frames, seed):
    module = with_exact_biases(network(architecture, seed))
    exported, frames = module.export(), features(architecture, n_frames, seed)
    exact = rounding.run(architecture, exported, frames)
    given, lengths = torch.tensor(frames)[None], torch.tensor([n_frames])
    with torch.no_grad():
        single = module(given, lengths)[0][0].numpy()
        double = with_exported_norms(module, exported)(given.double(), lengths)[0][0].numpy()
    np.testing.assert_allclose(double, exact.value, rtol=1e-9, atol=1e-11)
    assert np.all(abs(single - exact.value) <= exact.error)
    assert np.all(abs(Network(architecture, exported).run(frames) - exact.value) <= exact.error)


@settings(max_examples=60)
@given(architectures(streaming=False))
def test_export_has_the_names_and_shapes_of_the_architecture(architecture):
    exported = network(architecture).export()
    shapes = {m.name: (m.rows, m.columns) for m in architecture.matrices()}
    shapes |= {v.name: (v.size,) for v in architecture.vectors()}
    assert {name: value.shape for name, value in exported.items()} == shapes
    assert {value.dtype for value in exported.values()} <= {np.dtype(np.float32)}


@settings(max_examples=60)
@given(architectures(streaming=False))
def test_every_matrix_has_the_name_of_its_parameter(architecture):
    module = network(architecture)
    names, parameters, exported = module.matrix_names(), dict(module.named_parameters()), module.export()
    assert sorted(names.values()) == sorted(matrix.name for matrix in architecture.matrices())
    for parameter, matrix in names.items():
        np.testing.assert_array_equal(parameters[parameter].detach().flatten(1).numpy(), exported[matrix])


def test_a_level_that_does_not_name_embeddings_leaves_them_whole():
    module = network(Architecture(1, (Embedding("tokens", 32, 4), Linear("output", 16))))
    ramp = {"block": BlockShape(1, 1), "schedule": CubicSchedule(0, 1)}
    of_fc = DynamicSparsity(module, Levels(large={}, small={"fc": 0.5}), **ramp)
    assert list(of_fc.masks("small")) == ["layers.output.linear.weight"]
    of_both = DynamicSparsity(module, Levels(large={}, small={"fc": 0.5, "embedding": 0.5}), **ramp)
    assert list(of_both.masks("small")) == ["layers.tokens.table.weight", "layers.output.linear.weight"]


def test_export_is_a_copy():
    module = network(EVERY_LAYER)
    exported = module.export()
    before = {name: value.copy() for name, value in exported.items()}
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_equal(exported, before)
