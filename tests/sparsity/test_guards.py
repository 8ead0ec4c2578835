"""What would go wrong silently while weights are masked, or after, is refused."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from sparrot.sparsity import (
    BlockShape,
    CubicSchedule,
    DynamicOptions,
    DynamicSparsity,
    Levels,
    Magnitude,
)

ONES = torch.ones(2, 8)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))


@pytest.fixture
def sparsity(model: nn.Module) -> DynamicSparsity:
    return pruned(model)


def pruned(model: nn.Module, kind: str = "fc") -> DynamicSparsity:
    sparsity = DynamicSparsity(
        model,
        Levels(large={}, small={kind: 0.5}),
        block=BlockShape(4, 1),
        schedule=CubicSchedule(0, 1),
        options=DynamicOptions(criterion=Magnitude(), mask_every=1),
    )
    sparsity.step()
    return sparsity


@pytest.mark.parametrize("level", ["large", "small"])
def test_an_optimiser_step_inside_is_refused(model: nn.Module, sparsity: DynamicSparsity, level: str):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with sparsity.at(level):
        model(ONES).sum().backward()
        with pytest.raises(
            RuntimeError, match=rf"optimizer.step\(\) inside `at\('{level}'\)`.*step once after"
        ):
            optimizer.step()
    optimizer.step()


def test_the_optimiser_of_another_model_may_step_inside(sparsity: DynamicSparsity):
    other = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(torch.ones(1, 2)).sum().backward()
    with sparsity.at("small"):
        optimizer.step()


@pytest.mark.parametrize("save", [lambda m: m, lambda m: m[0], nn.ModuleList, nn.Sequential])
def test_saving_inside_is_refused(model: nn.Module, sparsity: DynamicSparsity, save):
    # The model, a part of it, and a model that it is a part of.
    saved = save([model]) if save is nn.ModuleList else save(model)
    with (
        sparsity.at("small"),
        pytest.raises(RuntimeError, match=r"state_dict\(\) inside .* save after the block"),
    ):
        saved.state_dict()
    assert saved.state_dict()


def test_state_step_and_load_inside_are_refused(sparsity: DynamicSparsity):
    state = sparsity.state_dict()
    with sparsity.at("small"):
        with pytest.raises(RuntimeError, match=r"state_dict\(\) inside `at\('small'\)`"):
            sparsity.state_dict()
        with pytest.raises(RuntimeError, match=r"step\(\) inside `at\('small'\)`"):
            sparsity.step()
        with pytest.raises(RuntimeError, match=r"load_state_dict\(\) inside `at\('small'\)`"):
            sparsity.load_state_dict(state)


def test_a_level_inside_a_level_is_refused(model: nn.Module, sparsity: DynamicSparsity):
    before = model[0].weight.detach().clone()
    with sparsity.at("small"):
        with (
            pytest.raises(RuntimeError, match=r"`at\('large'\)` inside `at\('small'\)`"),
            sparsity.at("large"),
        ):
            pass
        assert (model[0].weight == 0).sum() == 32  # the outer level goes on
    assert torch.equal(model[0].weight, before)


def test_a_model_whose_parameters_were_replaced_is_refused(model: nn.Module, sparsity: DynamicSparsity):
    model.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    with sparsity.at("small"):  # copied into the same parameters
        pass
    model[2].weight = nn.Parameter(torch.ones(4, 8))
    with pytest.raises(RuntimeError, match=r"`2\.weight` is not the parameter"), sparsity.at("small"):
        pass
    with pytest.raises(RuntimeError, match=r"`2\.weight` is not the parameter"), sparsity.at("large"):
        pass


def test_an_unknown_level_is_refused_with_the_nearest(sparsity: DynamicSparsity):
    for use in (lambda: sparsity.at("smal").__enter__(), lambda: sparsity.masks("smal")):
        with pytest.raises(ValueError, match=r"Did you mean `small`\?"):
            use()


@dataclass
class Wrapped:
    logits: Tensor


class Speller(nn.Module):
    """A model whose backward needs no weight of its matrix, so that autograd by itself notices nothing."""

    def __init__(self, shape) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(8, 4))
        self.shape = shape

    def prunable(self):
        return [("table", "embedding", 1)]

    def forward(self, tokens: Tensor):
        return self.shape(nn.functional.embedding(tokens, self.table))


@pytest.mark.parametrize("level", ["large", "small"])
@pytest.mark.parametrize(
    ("shape", "pick"),
    [
        (lambda out: out, lambda given: given),
        (lambda out: (out, None), lambda given: given[0]),
        (lambda out: {"logits": [out]}, lambda given: given["logits"][0]),
        (Wrapped, lambda given: given.logits),
    ],
    ids=["tensor", "tuple", "dict of list", "dataclass"],
)
def test_a_backward_that_comes_too_late_is_refused(shape, pick, level: str):
    model = Speller(shape)
    sparsity = pruned(model, "embedding")
    with sparsity.at(level):
        output = pick(model(torch.arange(8)))
    with pytest.raises(RuntimeError, match=rf"an output of `at\('{level}'\)` after the block has ended"):
        output.sum().backward()
    assert model.table.grad is None


@pytest.mark.parametrize("level", ["large", "small"])
def test_a_late_backward_reaches_no_part_of_the_model(level: str):
    model = nn.Sequential(nn.Embedding(8, 4), nn.LayerNorm(4))
    sparsity = pruned(model, "embedding")
    with sparsity.at(level):
        loss = model(torch.arange(8)).sum()
    with pytest.raises(RuntimeError, match="after the block has ended"):
        loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_late_backward_is_refused_inside_the_next_level_too(model: nn.Module, sparsity: DynamicSparsity):
    with sparsity.at("large"):
        loss = model(ONES).sum()
    with sparsity.at("small"), pytest.raises(RuntimeError, match=r"an output of `at\('large'\)` after"):
        loss.backward()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_late_backward_through_a_part_of_the_model_is_refused(model: nn.Module, sparsity: DynamicSparsity):
    with sparsity.at("small"):
        loss = model[0](ONES).sum()
    with pytest.raises(RuntimeError, match=r"an output of `at\('small'\)` after the block has ended"):
        loss.backward()
    assert model[0].weight.grad is None


def test_autograd_itself_sees_that_a_weight_was_restored(model: nn.Module, sparsity: DynamicSparsity):
    # The last line of defence, lost if weights were masked through `.data`.
    frames = ONES.clone().requires_grad_()
    with sparsity.at("small"):
        loss = nn.functional.linear(frames, model[0].weight).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_forward_before_the_block_has_no_backward_inside(model: nn.Module, sparsity: DynamicSparsity):
    # Its weights are masked by now: autograd has to see that, too.
    loss = model(ONES).sum()
    with sparsity.at("small"), pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_backward_inside_is_fine_and_the_next_block_starts_afresh(
    model: nn.Module, sparsity: DynamicSparsity
):
    for _ in range(2):
        with sparsity.at("small"):
            loss = model(ONES).sum()
            loss.backward(retain_graph=True)
            loss.backward()
    assert model[2].weight.grad.count_nonzero() == 16


def test_nothing_is_left_on_the_model(model: nn.Module, sparsity: DynamicSparsity):
    with sparsity.at("small"):
        model(ONES).sum().backward()
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._state_dict_pre_hooks
    assert all(not parameter._backward_hooks for parameter in model.parameters())


def test_a_parameter_that_the_model_gives_out_may_be_used_after_the_block():
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(8, 4)
            self.transitions = nn.Parameter(torch.ones(4, 4))

        def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
            return self.output(frames), self.transitions

    model = Tagger()
    sparsity = pruned(model)
    for _ in range(2):
        for level in sparsity.passes():
            with sparsity.at(level):
                logits, transitions = model(ONES)
                (logits.sum() + transitions.sum()).backward()
    assert torch.equal(model.transitions.grad, torch.full((4, 4), 4.0))
