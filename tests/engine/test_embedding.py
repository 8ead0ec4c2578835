"""Tables of embedded tokens: looked up bit for bit, and never beside the table."""

import numpy as np
import pytest

from architectures import features, parameters
from engine_networks import dense_network, model_of, network_of
from model_file.written import three_levels
from numpy_runner.network import Network as NumpyNetwork
from sparrot import _core
from sparrot.architecture import Architecture, Embedding, Linear
from sparrot.engine.network import Network, NetworkStream, advance
from sparrot.model_file import LevelToWrite

TOKENS, SIZE = 37, 21  # neither fills its strips, tiles or groups
LOOK_UP = Architecture(1, (Embedding("tokens", TOKENS, SIZE),))
LAYOUTS = ["strip16", "tile4", "tile8", "csr"]


def looked_up(network: Network, indices: np.ndarray, stops: list[int]) -> list[np.ndarray]:
    """A stream an entry of `stops`, all stepped together."""
    streams = [NetworkStream(network, len(indices)) for _ in stops]
    for stream in streams:
        stream.push(indices[:, None])
    return advance(streams, stops)


def unchecked(network: Network, values: list[float]) -> np.ndarray:
    """What C++ makes of frames that Python has not looked at."""
    stream = _core.NetworkStream(network.core, 0)
    stream.push(np.array(values, np.float32)[:, None])
    stream.finish()
    return _core.advance([stream], [0])[0]


@pytest.mark.parametrize("n_streams", [3, 20])
@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_level_looks_up_its_own_rows_bit_for_bit(layout, dtype, n_streams):
    levels = three_levels(LOOK_UP, (4, 2), seed=1)
    model = model_of(LOOK_UP, parameters(LOOK_UP, 1), levels, (4, 2), dtype, lambda block: layout)
    assert model.matrices[0].layout == layout
    tables = [model.parameters(level.name)["tokens.table"] for level in reversed(model.levels)]
    assert len({table.tobytes() for table in tables}) == 3
    indices = np.random.default_rng(2).permutation(TOKENS).astype(np.float32)
    stops = [number % 3 for number in range(n_streams)]
    for stop, rows in zip(stops, looked_up(network_of(model), indices, stops), strict=True):
        np.testing.assert_array_equal(rows, tables[stop][indices.astype(int)])


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
def test_a_table_that_no_level_prunes_is_the_same_at_all(dtype):
    architecture = Architecture(1, (*LOOK_UP.layers, Linear("output", 5)))
    kept = {"output.weight": np.eye(5, SIZE, dtype=np.bool_)}
    levels = [LevelToWrite(name="large", kept={}), LevelToWrite(name="small", kept=kept)]
    model = model_of(architecture, parameters(architecture, 3), levels, (1, 1), dtype)
    assert [stored.layout for stored in model.matrices] == ["dense16", "csr"]
    table_only = model_of(LOOK_UP, {"tokens.table": parameters(architecture, 3)["tokens.table"]}, dtype=dtype)
    indices = np.arange(TOKENS, dtype=np.float32)
    (rows,) = looked_up(network_of(table_only), indices, [0])
    for level in ("large", "small"):
        np.testing.assert_array_equal(rows, model.parameters(level)["tokens.table"])


def test_a_table_with_one_row_and_one_of_whole_strips():
    for tokens, size in ((1, 1), (32, 16)):
        architecture = Architecture(1, (Embedding("tokens", tokens, size), Linear("output", 2)))
        weights, frames = parameters(architecture, 5), features(architecture, 9)
        expected = NumpyNetwork(architecture, weights).run(frames)
        np.testing.assert_allclose(dense_network(architecture, weights).run(frames, 0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("index", "told"),
    [
        (-1, "-1"),
        (TOKENS, "37"),
        (0.5, "0.5"),
        (np.nan, "nan"),
        (np.inf, "inf"),
        (1e300, "1e"),
        (3 + 1e-12, "3.000000000001"),  # float32 would make it 3
        (2**63, "9.?22"),
    ],
)
def test_what_is_no_index_of_a_token_is_refused(index, told):
    network = dense_network(LOOK_UP, parameters(LOOK_UP, 0))
    words = f"takes indices of tokens, whole numbers from 0 to 36; got {told}"
    with pytest.raises(ValueError, match=words):
        network.run([[0], [index]], 0)
    stream = NetworkStream(network, 2)
    with pytest.raises(ValueError, match=words):
        stream.push([[index]])


def test_indices_of_any_type_are_taken():
    network = dense_network(LOOK_UP, parameters(LOOK_UP, 0))
    rows = network.run(np.array([[0], [36]], np.float32), 0)
    for indices in ([[0], [36]], np.array([[0], [36]], np.uint8), np.array([[-0.0], [36.0]])):
        np.testing.assert_array_equal(network.run(indices, 0), rows)
    assert network.run(np.zeros((0, 1)), 0).shape == (0, SIZE)


@pytest.mark.parametrize("dtype", ["F32", "BF16", "I8"])
def test_the_engine_itself_makes_zeros_of_what_is_no_index(dtype):
    network = network_of(model_of(LOOK_UP, parameters(LOOK_UP, 0), dtype=dtype))
    wrong = [-1.0, -1e-3, float(TOKENS), 1e9, 3e38, float("inf"), float("-inf"), float("nan")]
    np.testing.assert_array_equal(unchecked(network, wrong), np.zeros((len(wrong), SIZE)))
    assert unchecked(network, [36.5]).any()
