import numpy as np

from sparrot.architecture import (
    Architecture,
    Convolution,
    Embedding,
    LayerNorm,
    Linear,
    Recurrent,
    Transducer,
    Window,
)
from sparrot.engine.cost import macs_per_second

ARCHITECTURE = Architecture(
    7,
    (
        Convolution("planes", 3, kernel=3, stride=2, kernel_bins=3, stride_bins=2),  # 7 bins become 4
        Window("stack", 0, 1, 2),
        LayerNorm("norm"),
        Recurrent("lstm", "lstm", 5, projection=2, bidirectional=True),
        Linear("output", 6),
    ),
)


def ones() -> dict[str, np.ndarray]:
    return {m.name: np.ones((m.rows, m.columns), np.float32) for m in ARCHITECTURE.matrices()}


def test_every_weight_is_counted_as_often_as_it_is_used():
    convolution = 3 * 3 * 3 * 4 * 50  # weights of a channel, 3 channels, 4 places, 50 times a second
    direction = 4 * 5 * (24 + 2) + 2 * 5
    expected = convolution + (2 * direction + 6 * 4) * 25
    assert macs_per_second(ARCHITECTURE, 100.0, ones()) == expected


def test_looking_up_a_row_costs_nothing():
    architecture = Architecture(1, (Embedding("tokens", 9, 4), Linear("output", 2)))
    weights = {m.name: np.ones((m.rows, m.columns), np.float32) for m in architecture.matrices()}
    assert macs_per_second(architecture, 10.0, weights) == 2 * 4 * 10


def test_dropped_weights_cost_nothing():
    whole = macs_per_second(ARCHITECTURE, 100.0, ones())
    parameters = ones()
    parameters["lstm.reverse.input"][3:8] = 0.0
    parameters["planes.kernel"][1, 2] = 0.0
    assert macs_per_second(ARCHITECTURE, 100.0, parameters) == whole - 5 * 24 * 25 - 4 * 50


def test_a_transducer_pays_for_its_encoder_and_its_output_once_a_frame():
    encoder = Architecture(6, (Window("stack", 0, 1, 2), Linear("fc", 3)))
    predictor = Architecture(1, (Embedding("tokens", 5, 4), Linear("predictor_output", 3)))
    transducer = Transducer(encoder, predictor, Linear("output", 5))
    weights = {m.name: np.ones((m.rows, m.columns), np.float32) for m in transducer.matrices()}
    weights["output.weight"][0] = 0
    assert macs_per_second(transducer, 100.0, weights) == (12 * 3 + 4 * 3) * 50
