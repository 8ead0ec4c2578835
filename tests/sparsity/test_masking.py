"""Masked in place: the model of a level inside the block, the same bits as before after it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from sparrot.sparsity import (
    BlockMask,
    BlockShape,
    CubicSchedule,
    DynamicOptions,
    DynamicSparsity,
    Levels,
    Magnitude,
)
from sparrot.sparsity.masking import masked_weights
from sparrot.sparsity.targets import prunable_matrices

LEVELS = Levels(large={}, small={"lstm": 0.7, "fc": 0.5})


# PyTorch's own, for an LSTM with projection: "not supported with oneDNN. Using default implementation."
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")


class Tagger(nn.Module):
    def __init__(self, projection: int) -> None:
        super().__init__()
        self.encoder = nn.LSTM(5, 6, num_layers=2, proj_size=projection, bidirectional=True)
        self.output = nn.Linear(2 * (projection or 6), 3)

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encoder(frames)[0])


@pytest.fixture(params=[0, 4], ids=["fused", "projected"])
def model(request: pytest.FixtureRequest) -> Tagger:
    torch.manual_seed(3)
    return Tagger(projection=request.param)


@pytest.fixture
def frames() -> Tensor:
    return torch.randn(7, 2, 5, generator=torch.Generator().manual_seed(4))


def pruned(model: nn.Module, levels: Levels = LEVELS) -> DynamicSparsity:
    """Dynamic sparsity whose masks are at their targets, by magnitude."""
    sparsity = DynamicSparsity(
        model,
        levels,
        block=BlockShape(4, 1),
        schedule=CubicSchedule(0, 1),
        options=DynamicOptions(criterion=Magnitude("l1"), mask_every=1),
    )
    sparsity.step()
    return sparsity


def zeroed_by_hand(model: nn.Module, masks: dict[str, BlockMask]) -> nn.Module:
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, mask in masks.items():
            parameter = twin.get_parameter(name)
            parameter.copy_(mask.apply(parameter))
    return twin


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.detach().clone().view(torch.int32) for name, parameter in model.named_parameters()
    }


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_model_of_a_level_is_the_one_zeroed_by_hand(model: Tagger, frames: Tensor):
    sparsity = pruned(model)
    twin = zeroed_by_hand(model, sparsity.masks("small"))
    with sparsity.at("small"):
        got = model(frames)
        got.square().sum().backward()
    expected = twin(frames)
    expected.square().sum().backward()
    assert torch.equal(got, expected)  # bit for bit: the same fused kernels run
    masks = sparsity.masks("small")
    for name, parameter in model.named_parameters():
        gradient = twin.get_parameter(name).grad
        assert torch.equal(parameter.grad, masks[name].apply(gradient) if name in masks else gradient), name
    assert masks["output.weight"].sparsity > 0


@pytest.mark.parametrize(
    "context", [torch.no_grad, torch.inference_mode, torch.enable_grad], ids=["no_grad", "inference", "grad"]
)
@pytest.mark.parametrize("is_outside", [True, False])
def test_levels_run_without_gradients_too(model: Tagger, frames: Tensor, context, is_outside: bool):
    sparsity, before = pruned(model), bits(model)
    twin = zeroed_by_hand(model, sparsity.masks("small"))
    if is_outside:
        with context(), sparsity.at("small"):
            got = model(frames)
    else:
        with sparsity.at("small"), context():
            got = model(frames)
    with context():
        assert torch.equal(got, twin(frames))
    assert same(bits(model), before)


def test_parameters_keep_identity_and_memory_and_stay_flat(model: Tagger, frames: Tensor):
    sparsity = pruned(model)
    before = {name: (parameter, parameter.data_ptr()) for name, parameter in model.named_parameters()}

    def assert_unmoved() -> None:
        for name, parameter in model.named_parameters():
            assert parameter is before[name][0]
            assert parameter.data_ptr() == before[name][1]
        for name, flat in zip(model.encoder._flat_weights_names, model.encoder._flat_weights, strict=True):
            assert flat is getattr(model.encoder, name)

    with sparsity.at("small"):
        assert_unmoved()
        model(frames).sum().backward()
    assert_unmoved()


def test_every_bit_returns_even_of_values_that_are_not_equal_to_themselves(model: Tagger):
    sparsity = pruned(model)
    weight = model.encoder.weight_hh_l0
    with torch.no_grad():
        weight[0, 0], weight[0, 1], weight[0, 2] = -0.0, torch.inf, 1e-42
        weight.view(torch.int32)[1, 0] = 0x7FC12345  # a NaN with a payload
    before = bits(model)
    with sparsity.at("small"):
        assert not same(bits(model), before)
    assert same(bits(model), before)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_every_bit_returns_after_an_exception(model: Tagger, frames: Tensor, error: type[BaseException]):
    sparsity, before = pruned(model), bits(model)
    with pytest.raises(error), sparsity.at("small"):
        raise error
    assert same(bits(model), before)
    with sparsity.at("large"):  # the level is over, and so are its hooks
        model(frames).sum().backward()
    masks = sparsity.masks("small")
    assert all(parameter.grad.ne(0).any() for parameter in model.parameters())
    assert masks["output.weight"].apply(model.output.weight.grad).ne(model.output.weight.grad).any()


def test_every_bit_returns_when_the_way_in_fails(model: Tagger):
    first, second = prunable_matrices(model)[:2]
    before = bits(model)
    dropped = {
        first.name: torch.ones(first.parameter.shape, dtype=torch.bool),
        second.name: torch.ones(3, 99, dtype=torch.bool),
    }
    with pytest.raises(RuntimeError), masked_weights([first, second], dropped):
        pass
    assert same(bits(model), before)
    first.parameter.sum().backward()
    assert torch.equal(first.parameter.grad, torch.ones_like(first.parameter))


def test_nan_under_a_dropped_block_reaches_neither_output_nor_gradients(model: Tagger, frames: Tensor):
    sparsity = pruned(model)
    with sparsity.at("small"):
        expected = model(frames)
        expected.sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    with torch.no_grad():
        for name, mask in sparsity.masks("small").items():
            model.get_parameter(name)[mask.dropped_weights()] = torch.nan
    with sparsity.at("small"):
        got = model(frames)
        got.sum().backward()
    assert torch.equal(got, expected)
    assert same(gradients, {name: parameter.grad for name, parameter in model.named_parameters()})
    assert model.output.weight.isnan().any()


def test_a_gradient_under_a_dropped_block_is_dropped_even_if_it_is_nan(model: Tagger):
    sparsity, weight = pruned(model), model.output.weight
    with sparsity.at("small"):
        torch.autograd.backward([weight], [torch.full_like(weight, torch.nan)])
    dropped = sparsity.masks("small")["output.weight"].dropped_weights()
    assert torch.equal(weight.grad.isnan(), ~dropped)
    assert torch.equal(weight.grad[dropped], torch.zeros(int(dropped.sum())))


def test_inside_a_level_a_dropped_weight_is_zero_whatever_the_optimiser_did(model: Tagger, frames: Tensor):
    # Momentum and weight decay move dropped weights on between mask updates.
    sparsity = pruned(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    dropped = {name: mask.dropped_weights() for name, mask in sparsity.masks("small").items()}
    for _ in range(3):
        with sparsity.at("large"):
            model(frames).square().sum().backward()
        optimizer.step()
        for name, mask in dropped.items():
            assert model.get_parameter(name)[mask].count_nonzero() == mask.sum()
        with sparsity.at("small"):
            for name, mask in dropped.items():
                assert model.get_parameter(name)[mask].count_nonzero() == 0


def test_gradients_of_the_passes_accumulate(model: Tagger, frames: Tensor):
    sparsity = pruned(model)
    separate: list[dict[str, Tensor]] = []
    for level in sparsity.passes():
        model.zero_grad()
        with sparsity.at(level):
            model(frames).square().sum().backward()
        separate.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    model.zero_grad()
    for level in sparsity.passes():
        with sparsity.at(level):
            model(frames).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, separate[0][name] + separate[1][name])


@pytest.fixture
def linear() -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(8, 8))


def test_a_level_takes_effect_inside_an_autocast_block_and_ends_in_it(linear: nn.Module):
    # Autocast keeps the bf16 copy of a weight it has seen: masked in place, the copy would win.
    sparsity = pruned(linear, Levels(large={}, small={"fc": 0.5}))
    twin = zeroed_by_hand(linear, sparsity.masks("small"))
    frames = torch.randn(4, 8)
    with torch.autocast("cpu", torch.bfloat16):
        full = linear(frames)
        with sparsity.at("small"):
            masked = linear(frames)
        after = linear(frames)
        assert torch.equal(masked, twin(frames))
    assert masked.dtype == torch.bfloat16
    assert not torch.equal(masked, full)
    assert torch.equal(after, full)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_weights_of_any_width_are_masked_with_their_gradients(linear: nn.Module, dtype: torch.dtype):
    linear.to(dtype)
    sparsity, weight = pruned(linear, Levels(large={}, small={"fc": 0.5})), linear[0].weight
    dropped = sparsity.masks("small")["0.weight"].dropped_weights()
    before, gradient = weight.detach().clone(), torch.randn(8, 8).to(dtype).t()  # not contiguous
    with torch.no_grad():
        weight[dropped] = torch.nan
    with sparsity.at("small"):
        assert torch.equal(weight, before.masked_fill(dropped, 0.0))
        torch.autograd.backward([weight], [gradient])
    assert torch.equal(weight.grad, gradient.masked_fill(dropped, 0.0))


def test_a_frozen_weight_is_masked_though_it_has_no_gradient(linear: nn.Module):
    linear.requires_grad_(False)
    sparsity = pruned(linear, Levels(large={}, small={"fc": 0.5}))
    with sparsity.at("small"):
        assert (linear[0].weight == 0).sum() == 32
    assert linear[0].weight.count_nonzero() == 64


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(8, 4)
        self.output = nn.Linear(4, 8, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.embedding(tokens))


def test_a_shared_matrix_is_masked_for_both_its_layers():
    torch.manual_seed(6)
    model, tokens = Tied(), torch.arange(8)
    sparsity = pruned(model, Levels(large={}, small={"embedding": 0.5}))
    twin = zeroed_by_hand(model, sparsity.masks("small"))
    with sparsity.at("small"):
        got = model(tokens)
        got.square().sum().backward()
    expected = twin(tokens)
    expected.square().sum().backward()
    assert torch.equal(got, expected)
    mask = sparsity.masks("small")["embedding.weight"]
    assert torch.equal(model.output.weight.grad, mask.apply(twin.output.weight.grad))


def test_levels_of_a_gru_an_rnn_and_cells_are_those_zeroed_by_hand():
    torch.manual_seed(8)
    frames = torch.randn(3, 2, 5)
    layers: list[nn.Module] = [
        nn.GRU(5, 6, bidirectional=True),
        nn.RNN(5, 6, num_layers=2),
        nn.LSTMCell(5, 6),
        nn.GRUCell(5, 6),
        nn.RNNCell(5, 6),
    ]
    for layer in layers:
        kind = prunable_matrices(layer)[0].type
        given = frames[0] if "Cell" in type(layer).__name__ else frames
        sparsity = pruned(layer, Levels(large={}, small={kind: 0.7}))
        twin = zeroed_by_hand(layer, sparsity.masks("small"))
        with sparsity.at("small"):
            got = layer(given)
        assert torch.equal(got[0], twin(given)[0]), layer
        assert not torch.equal(got[0], layer(given)[0]), layer
