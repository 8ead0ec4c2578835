"""Every layer against the torch module that it stands for, in float64."""

import numpy as np
import pytest
import torch

import reference
import rounding
from architectures import features, parameters
from numpy_runner.network import Network
from sparrot.architecture import Architecture, Convolution, LayerNorm, Linear, Recurrent

CLOSE = {"rtol": 1e-12, "atol": 1e-12}  # two float64 evaluations of small sums


def agrees_with(module: torch.nn.Module, layer, width: int, tensors) -> None:
    """Loads `tensors(parameters)` into a module and compares it, the float64 loops and the network."""
    architecture = Architecture(width, (layer,))
    weights, frames = parameters(architecture, 0), features(architecture, 9)
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in tensors(weights).items()}
    module.double().load_state_dict(state)
    with torch.no_grad():
        expected = module(torch.tensor(frames, dtype=torch.float64)[None])
    expected = (expected[0] if isinstance(expected, tuple) else expected)[0].numpy()
    np.testing.assert_allclose(reference.run(architecture, weights, frames), expected, **CLOSE)
    bound = rounding.run(architecture, weights, frames).error + 1e-12
    assert np.all(abs(Network(architecture, weights).run(frames) - expected) <= bound)


def recurrent_tensors(layer: Recurrent, weights) -> dict[str, np.ndarray]:
    """torch's names; the summed bias is given to its input bias."""
    tensors = {}
    for prefix, suffix in zip(layer.prefixes, ("", "_reverse"), strict=False):
        bias = weights[f"{prefix}.bias"]
        hidden_bias = np.zeros_like(bias)
        if layer.cell == "gru":
            hidden_bias[2 * layer.cells :] = weights[f"{prefix}.candidate_bias"]
        tensors |= {
            f"weight_ih_l0{suffix}": weights[f"{prefix}.input"],
            f"weight_hh_l0{suffix}": weights[f"{prefix}.recurrent"],
            f"bias_ih_l0{suffix}": bias,
            f"bias_hh_l0{suffix}": hidden_bias,
        }
        if layer.projection is not None:
            tensors[f"weight_hr_l0{suffix}"] = weights[f"{prefix}.projection"]
    return tensors


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "projection"), [("lstm", None), ("lstm", 3), ("gru", None), ("rnn", None)])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_layer_is_that_of_torch(cell, projection, bidirectional):
    layer = Recurrent("layer", cell, 5, projection, bidirectional)
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    sizes = {"proj_size": projection} if projection else {}
    module = kind(4, 5, batch_first=True, bidirectional=bidirectional, **sizes)
    agrees_with(module, layer, 4, lambda weights: recurrent_tensors(layer, weights))


def test_linear_is_that_of_torch():
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh())
    agrees_with(
        module,
        Linear("l", 3, "tanh"),
        4,
        lambda weights: {"0.weight": weights["l.weight"], "0.bias": weights["l.bias"]},
    )


def test_layer_norm_is_that_of_torch():
    agrees_with(
        torch.nn.LayerNorm(6),
        LayerNorm("n"),
        6,
        lambda weights: {"weight": weights["n.scale"], "bias": weights["n.shift"]},
    )


class OverTime(torch.nn.Module):
    """Conv1d on rows of frames."""

    def __init__(self, *sizes: int, **options: int) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv1d(*sizes, **options)

    def forward(self, frames):
        return torch.relu(self.convolution(frames.transpose(1, 2))).clamp(max=20).transpose(1, 2)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_convolution_over_time_is_conv1d(stride):
    agrees_with(
        OverTime(4, 3, 5, stride=stride, padding=2),
        Convolution("c", 3, kernel=5, stride=stride),
        4,
        lambda weights: {
            "convolution.weight": weights["c.kernel"].reshape(3, 5, 4).transpose(0, 2, 1),
            "convolution.bias": weights["c.bias"],
        },
    )


class OverBins(torch.nn.Module):
    """Two Conv2d, on frames of 7 bins and on their two channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(1, 2, (3, 3), stride=(2, 1), padding=(1, 1))
        self.second = torch.nn.Conv2d(2, 3, (5, 3), stride=(1, 2), padding=(2, 1))

    def forward(self, frames):
        planes = torch.tanh(self.second(torch.relu(self.first(frames[:, None]))))
        return planes.transpose(1, 2).flatten(2)


def test_convolutions_over_bins_are_conv2d():
    architecture = Architecture(
        7,
        (
            Convolution("first", 2, kernel=3, stride=2, kernel_bins=3, activation="relu"),
            Convolution("second", 3, kernel=5, kernel_bins=3, stride_bins=2, activation="tanh"),
        ),
    )
    weights, frames = parameters(architecture, 0), features(architecture, 11)
    module = OverBins().double()
    shapes = {"first": (2, 1, 3, 3), "second": (3, 2, 5, 3)}
    state = {f"{name}.weight": weights[f"{name}.kernel"].reshape(shape) for name, shape in shapes.items()}
    state |= {f"{name}.bias": weights[f"{name}.bias"] for name in shapes}
    module.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()})
    with torch.no_grad():
        expected = module(torch.tensor(frames, dtype=torch.float64)[None])[0].numpy()
    np.testing.assert_allclose(reference.run(architecture, weights, frames), expected, **CLOSE)
    bound = rounding.run(architecture, weights, frames).error + 1e-12
    assert np.all(abs(Network(architecture, weights).run(frames) - expected) <= bound)
