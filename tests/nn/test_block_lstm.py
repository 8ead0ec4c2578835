"""LSTM layers that skip dropped blocks: output and gradients against float64, with bounds on rounding."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rounded_lstm
from sparrot import architecture
from sparrot._core import available_kernels
from sparrot._training import BlockLstm, BlockMatrix
from sparrot.nn.block_lstm import can_skip, lstm_of_blocks
from sparrot.nn.layers import Recurrent, turned_round
from sparrot.sparsity import BlockGrid, BlockMask, BlockShape

ISAS = available_kernels()
NAMES = {"input": "weight_ih_l0", "recurrent": "weight_hh_l0", "projection": "weight_hr_l0"}

# PyTorch's own, for an LSTM with projection: "not supported with oneDNN. Using default implementation."
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")


@dataclass(frozen=True)
class Size:
    """width, cells and projection of a layer; utterances and frames of a batch."""

    width: int
    cells: int
    projection: int | None
    batch: int
    frames: int


# Cells and outputs that fill strips and that do not; batches around 8, 16 and 24; more than 64 frames in all.
SIZES = [
    Size(1, 1, None, 1, 1),
    Size(5, 7, None, 3, 4),
    Size(33, 40, None, 9, 5),
    Size(24, 32, None, 17, 5),
    Size(20, 48, 20, 33, 3),
    Size(9, 40, 17, 8, 4),
    Size(12, 16, None, 1, 70),
]


class Problem:
    """A layer in torch, its masks of strips, and a batch with the gradient of its output."""

    def __init__(self, size: Size, kept: float = 0.4) -> None:
        self.size = size
        torch.manual_seed(size.cells)
        self.lstm = nn.LSTM(size.width, size.cells, batch_first=True, proj_size=size.projection or 0)
        self.masks = {}
        for part, weight in self.matrices().items():
            grid = BlockGrid(*weight.shape, BlockShape(16, 1), 1 if part == "projection" else 4)
            keep = torch.rand(grid.shape) < kept
            keep[0, 0], keep[-1] = True, False  # a strip without blocks
            self.masks[NAMES[part]] = BlockMask(keep, grid)
            with torch.no_grad():  # far from zero, as after training
                weight.mul_(1.5)
        hidden = size.projection or size.cells
        self.x = torch.randn(size.batch, size.frames, size.width)
        self.d_y = torch.randn(size.batch, size.frames, hidden)

    def matrices(self) -> dict[str, Tensor]:
        return {part: getattr(self.lstm, name) for part, name in NAMES.items() if hasattr(self.lstm, name)}

    def masked(self) -> dict[str, np.ndarray]:
        """What `rounded_lstm` is given."""
        own = {
            part: self.masks[NAMES[part]].apply(weight.detach()).numpy()
            for part, weight in self.matrices().items()
        }
        bias = self.lstm.bias_ih_l0 + self.lstm.bias_hh_l0
        return {**own, "bias": bias.detach().numpy()}

    def blocks(self) -> list[BlockMatrix]:
        """Without the package: the rows of a strip are known by hand."""
        made = []
        for part, weight in self.matrices().items():
            mask, gates = self.masks[NAMES[part]], 1 if part == "projection" else 4
            made.append(BlockMatrix(mask.keep.contiguous(), weight.shape[0], gates))
        return made

    def run(self, isa: str | None = None, threads: int = 1, rows: slice = slice(None)) -> dict[str, Tensor]:
        """Output and gradients by the compiled layer alone, of some utterances."""
        x, d_y, blocks = self.x[rows].contiguous(), self.d_y[rows].contiguous(), self.blocks()
        layer = BlockLstm(*blocks, isa=isa)
        values = [torch.full((matrix.n_values,), torch.nan) for matrix in blocks]
        for matrix, weight, packed in zip(blocks, self.matrices().values(), values, strict=True):
            matrix.pack(weight.detach(), packed)
        bias = (self.lstm.bias_ih_l0 + self.lstm.bias_hh_l0).detach()
        y, d_x = torch.full_like(d_y, torch.nan), torch.full_like(x, torch.nan)
        trace = torch.full((*x.shape[:2], layer.trace_width), torch.nan)
        layer.forward(x, values, bias, y, trace, threads=threads)
        d_values, d_bias = [torch.zeros_like(packed) for packed in values], torch.zeros_like(bias)
        layer.backward(x, values, y, trace, d_y, d_x, d_values, d_bias, threads=threads)
        found = {"y": y, "frames": d_x.flatten(0, 1), "bias": d_bias}
        for matrix, packed, (part, weight) in zip(blocks, d_values, self.matrices().items(), strict=True):
            found[part] = torch.zeros_like(weight)
            matrix.unpack(packed, found[part])
        return found


def assert_within_rounding(problem: Problem, found: dict[str, Tensor]) -> None:
    own, size = problem.masked(), problem.size
    expected = rounded_lstm.gradients(own, problem.x.numpy(), problem.d_y.numpy())
    for part, bound in expected.items():
        kept = 1.0
        if part in NAMES:
            kept = ~problem.masks[NAMES[part]].dropped_weights().numpy()
        error = abs(found[part].detach().numpy() - bound.value * kept)
        assert (error <= bound.error).all(), (part, error.max(), size)
    for utterance, y in zip(problem.x.numpy(), found["y"].detach().numpy(), strict=True):
        for h, frame in zip(rounded_lstm.forward(own, utterance)[1], y, strict=True):
            assert (abs(frame - h.value) <= h.error).all(), size


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("isa", ISAS)
def test_outputs_and_gradients_are_within_rounding_of_float64(isa, size):
    problem = Problem(size)
    assert_within_rounding(problem, problem.run(isa))


def test_bounds_are_those_of_float32_and_not_of_anything():
    problem = Problem(SIZES[3])
    bounds = rounded_lstm.gradients(problem.masked(), problem.x.numpy(), problem.d_y.numpy())
    for part, bound in bounds.items():
        assert np.median(bound.error) < 1e-3 * np.abs(bound.value).max(), part


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bounds_are_about_what_torch_computes(size):
    problem = Problem(size)
    with torch.no_grad():
        for name, mask in problem.masks.items():
            problem.lstm.get_parameter(name).copy_(mask.apply(problem.lstm.get_parameter(name)))
    wide, x = problem.lstm.double(), problem.x.double().requires_grad_()
    (wide(x)[0] * problem.d_y).sum().backward()
    expected = rounded_lstm.gradients(problem.masked(), problem.x.numpy(), problem.d_y.numpy())
    for part, weight in problem.matrices().items():
        np.testing.assert_allclose(weight.grad, expected[part].value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x.grad.flatten(0, 1), expected["frames"].value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", SIZES[1:], ids=str)
def test_threads_share_utterances(size):
    problem = Problem(size)
    alone = problem.run()
    for threads in (2, 5):
        shared = problem.run(threads=threads)
        assert_within_rounding(problem, shared)
        assert torch.equal(shared["y"], alone["y"])
        assert torch.equal(shared["frames"], alone["frames"])


@pytest.mark.parametrize("isa", ISAS)
def test_an_utterance_has_the_same_bits_in_any_company(isa):
    problem = Problem(Size(20, 48, None, 19, 4))
    together = problem.run(isa)
    for rows in (slice(0, 1), slice(3, 11), slice(2, 19)):
        some = problem.run(isa, rows=rows)
        assert torch.equal(some["y"], together["y"][rows])
        assert torch.equal(some["frames"], together["frames"].view(19, 4, -1)[rows].flatten(0, 1))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_autograd_gets_the_gradients_of_the_compiled_layer(size):
    problem = Problem(size)
    expected = problem.run()
    x = problem.x.clone().requires_grad_()
    y = lstm_of_blocks(problem.lstm, problem.masks, x)
    y.backward(problem.d_y, retain_graph=True)
    assert torch.equal(y, expected["y"])
    assert torch.equal(x.grad.flatten(0, 1), expected["frames"])
    for part, weight in problem.matrices().items():
        assert torch.equal(weight.grad, expected[part])
    for bias in (problem.lstm.bias_ih_l0, problem.lstm.bias_hh_l0):
        assert torch.equal(bias.grad, expected["bias"])
    y.backward(problem.d_y)  # once more from the same graph: it all comes again
    assert torch.equal(x.grad.flatten(0, 1), 2 * expected["frames"])


def test_dropped_weights_are_never_read():
    problem = Problem(Size(20, 48, 20, 5, 3))
    clean = problem.run()
    with torch.no_grad():
        for part, weight in problem.matrices().items():
            weight[problem.masks[NAMES[part]].dropped_weights()] = torch.nan
    y = lstm_of_blocks(problem.lstm, problem.masks, problem.x)
    y.backward(problem.d_y)
    assert torch.equal(y, clean["y"])
    for part, weight in problem.matrices().items():
        assert torch.equal(weight.grad, clean[part])


def test_a_matrix_without_a_mask_is_whole():
    problem = Problem(Size(5, 24, 8, 3, 4))
    del problem.masks["weight_ih_l0"], problem.masks["weight_hr_l0"]
    got = lstm_of_blocks(problem.lstm, problem.masks, problem.x)
    for name in ("weight_ih_l0", "weight_hr_l0"):
        weight = problem.lstm.get_parameter(name)
        grid = BlockGrid(*weight.shape, BlockShape(16, 1), 1 if name == "weight_hr_l0" else 4)
        problem.masks[name] = BlockMask.full(grid)
    assert torch.equal(got, lstm_of_blocks(problem.lstm, problem.masks, problem.x))


@pytest.mark.parametrize("block", ["16x1", "32x1", "16x16", "64x3"])
def test_larger_blocks_are_cut_into_strips(block):
    problem = Problem(Size(20, 40, None, 3, 4))
    for name, mask in problem.masks.items():
        grid = BlockGrid(mask.grid.rows, mask.grid.columns, BlockShape.parse(block), 4)
        problem.masks[name] = BlockMask(torch.rand(grid.shape) < 0.5, grid)
    y = lstm_of_blocks(problem.lstm, problem.masks, problem.x)
    with torch.no_grad():
        for name, mask in problem.masks.items():
            strips = BlockGrid(mask.grid.rows, mask.grid.columns, BlockShape(16, 1), 4)
            kept = strips.tiles(mask.grid.expand(mask.keep).float()).amax(dim=(1, 3)) > 0
            problem.masks[name] = BlockMask(kept, strips)
    assert torch.equal(y, lstm_of_blocks(problem.lstm, problem.masks, problem.x))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_layers_run_without_gradients_too(context):
    problem = Problem(SIZES[1])
    with context():
        assert torch.equal(lstm_of_blocks(problem.lstm, problem.masks, problem.x), problem.run()["y"])


@pytest.mark.parametrize("shape", [(0, 3, 5), (2, 0, 5)])
def test_a_batch_may_be_empty(shape):
    problem = Problem(SIZES[1])
    x = torch.zeros(shape, requires_grad=True)
    y = lstm_of_blocks(problem.lstm, problem.masks, x)
    y.sum().backward()
    assert y.shape == (*shape[:2], 7)
    assert not problem.lstm.weight_ih_l0.grad.any()


def test_a_backward_after_the_weights_have_changed_is_refused():
    problem = Problem(SIZES[1])
    y = lstm_of_blocks(problem.lstm, problem.masks, problem.x)
    with torch.no_grad():
        problem.lstm.weight_hh_l0.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_layers_that_are_not_known_are_left_to_torch():
    problem = Problem(Size(20, 48, None, 3, 4))
    lstm, masks, x = problem.lstm, problem.masks, problem.x
    assert can_skip(lstm, masks, x)
    assert not can_skip(lstm, masks, x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not can_skip(lstm, masks, x)
    narrow = {
        name: BlockMask.full(BlockGrid(mask.grid.rows, mask.grid.columns, BlockShape(8, 1), 4))
        for name, mask in masks.items()
    }
    for mask in narrow.values():
        mask.keep[:] = False
    assert not can_skip(lstm, narrow, x)
    assert can_skip(lstm, Problem(problem.size, kept=0.6).masks, x)
    assert not can_skip(lstm, Problem(problem.size, kept=0.8).masks, x)
    assert not can_skip(lstm.double(), masks, x)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("is_bidirectional", [False, True])
def test_recurrent_layers_skip_in_every_direction(cell, is_bidirectional):
    torch.manual_seed(1)
    described = architecture.Recurrent("r", cell, 32, bidirectional=is_bidirectional)
    layer = Recurrent(described, architecture.Shape(20))
    masks = {}
    for name, weight in layer.named_parameters():
        if weight.dim() == 2:
            grid = BlockGrid(*weight.shape, BlockShape(16, 1), weight.shape[0] // 32)
            masks[name] = BlockMask(torch.rand(grid.shape) < 0.3, grid)
    frames, lengths = torch.randn(3, 6, 20), torch.tensor([6, 2, 4])
    plain = layer(frames, lengths)[0]
    layer.use_masks(masks)
    got = layer(frames, lengths)[0]
    layer.use_masks({})
    assert torch.equal(layer(frames, lengths)[0], plain)
    if cell == "gru":
        assert torch.equal(got, plain)
        return
    ahead = {name.removeprefix("ahead."): mask for name, mask in masks.items() if "ahead" in name}
    assert torch.equal(got[:, :, :32], lstm_of_blocks(layer.ahead, ahead, frames))
    if is_bidirectional:
        back = {name.removeprefix("back."): mask for name, mask in masks.items() if "back" in name}
        turned = lstm_of_blocks(layer.back, back, turned_round(frames, lengths))
        assert torch.equal(got[:, :, 32:], turned_round(turned, lengths))


def test_blocks_are_packed_strip_after_strip():
    kept = torch.zeros(4, 3, dtype=torch.bool)  # two gates of 20 rows: strips of 16 and of 4
    kept[0, 2] = kept[1, 0] = kept[1, 1] = kept[3, 2] = True
    blocks = BlockMatrix(kept, 40, 2)
    matrix = torch.arange(120.0).view(40, 3)
    values = torch.full((64,), torch.nan)
    blocks.pack(matrix, values)
    nothing = torch.zeros(12)
    expected = [matrix[:16, 2], matrix[16:20, 0], nothing, matrix[16:20, 1], nothing, matrix[36:, 2], nothing]
    assert torch.equal(values, torch.cat(expected))
    back = torch.full_like(matrix, -1)
    blocks.unpack(values, back)
    assert (back == matrix).sum() == 16 + 3 * 4
    assert (back == -1).sum() == 120 - 28


@pytest.mark.parametrize(
    ("shape", "rows", "gates", "words"),
    [
        ((4, 3), 40, 1, "4 strips, and the matrix 3"),
        ((3, 3), 40, 3, "40 rows are no 3 equal gates"),
        ((4, 3), 40, 0, "40 rows are no 0 equal gates"),
        ((1, 65537), 16, 1, "65536 columns at most, not 65537"),
    ],
)
def test_masks_that_are_of_no_matrix_are_refused(shape, rows, gates, words):
    with pytest.raises(ValueError, match=words):
        BlockMatrix(torch.zeros(shape, dtype=torch.bool), rows, gates)


def whole(rows: int, columns: int, gates: int) -> BlockMatrix:
    strips = gates * -(-rows // gates // 16)
    return BlockMatrix(torch.ones(strips, columns, dtype=torch.bool), rows, gates)


@pytest.mark.parametrize(
    "matrices",
    [
        (whole(32, 5, 4), whole(28, 7, 4)),
        (whole(32, 5, 4), whole(32, 7, 4)),
        (whole(32, 5, 1), whole(32, 8, 4)),
        (whole(32, 5, 4), whole(32, 3, 4), whole(3, 7, 1)),
        (whole(32, 5, 4), whole(32, 3, 4), whole(4, 8, 1)),
        (whole(32, 5, 4), whole(32, 4, 4), whole(4, 8, 4)),
    ],
)
def test_matrices_of_different_layers_are_refused(matrices):
    with pytest.raises(ValueError, match="do not fit together"):
        BlockLstm(*matrices)


@pytest.mark.parametrize("name", ["x", "values", "bias", "y", "trace", "d_y", "d_x", "d_values", "d_bias"])
def test_arrays_of_another_shape_are_refused(name):
    blocks = whole(32, 5, 4), whole(32, 8, 4)
    layer = BlockLstm(*blocks)
    arrays = {
        "x": torch.zeros(2, 3, 5),
        "values": [torch.zeros(matrix.n_values) for matrix in blocks],
        "bias": torch.zeros(32),
        "y": torch.zeros(2, 3, 8),
        "trace": torch.zeros(2, 3, layer.trace_width),
        "d_y": torch.zeros(2, 3, 8),
        "d_x": torch.zeros(2, 3, 5),
        "d_values": [torch.zeros(matrix.n_values) for matrix in blocks],
        "d_bias": torch.zeros(32),
    }
    given = {key: value for key, value in arrays.items() if key != "bias"}
    layer.backward(**given, threads=1)
    good = arrays[name]
    arrays[name] = good[:1] if isinstance(good, list) else torch.zeros(*good.shape[:-1], good.shape[-1] - 1)
    with pytest.raises(ValueError, match=f"`{name}` does not fit"):
        if name == "bias":
            used = ("x", "values", "bias", "y", "trace")
            layer.forward(**{key: arrays[key] for key in used}, threads=1)
        else:
            layer.backward(**{key: value for key, value in arrays.items() if key != "bias"}, threads=1)
