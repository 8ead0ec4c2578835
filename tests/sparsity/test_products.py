"""Which modules are told the masks of a level, and when: those that may skip what it drops."""

from collections.abc import Mapping

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

LEVELS = Levels(large={}, medium={"lstm": 0.5}, small={"lstm": 0.5, "fc": 0.5})


class Listening(nn.Module):
    """Two layers, and all that was said to their owner."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.output = nn.LSTM(6, 4), nn.Linear(4, 4)
        self.told: list[Mapping[str, BlockMask]] = []

    def use_masks(self, masks: Mapping[str, BlockMask]) -> None:
        self.told.append(masks)

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encoder(frames)[0])


def trained(model: nn.Module, levels: Levels = LEVELS, **options) -> DynamicSparsity:
    """Sparsity that has reached its levels after one update."""
    sparsity = DynamicSparsity(
        model,
        levels,
        block=BlockShape(2, 1),
        schedule=CubicSchedule(0, 1),
        options=DynamicOptions(mask_every=1, **options),
    )
    update(sparsity)
    return sparsity


def update(sparsity: DynamicSparsity) -> None:
    for level in sparsity.passes():
        with sparsity.at(level):
            sparsity.model(torch.ones(3, 2, 6)).square().sum().backward()
    sparsity.step()


def heard(model: Listening, sparsity: DynamicSparsity, level: str) -> Mapping[str, BlockMask]:
    """What a model is told in a level; it must be told of the end, too."""
    model.told.clear()
    with sparsity.at(level):
        assert len(model.told) == 1
    assert len(model.told) == 2
    assert model.told[1] == {}
    return model.told[0]


def test_a_model_is_told_the_masks_of_the_level_and_nothing_for_the_full_one():
    torch.manual_seed(1)
    model = Listening()
    sparsity = trained(model)
    assert heard(model, sparsity, "large") == {}
    lstm = {"encoder.weight_ih_l0", "encoder.weight_hh_l0"}
    for level, names in (("medium", lstm), ("small", {*lstm, "output.weight"})):
        masks = heard(model, sparsity, level)
        assert set(masks) == names  # no others: these are whole
        assert all(mask is sparsity.masks(level)[name] for name, mask in masks.items())


def test_a_part_is_told_of_its_own_parameters_by_its_own_names():
    torch.manual_seed(1)
    first, second = Listening(), Listening()
    sparsity = trained(nn.Sequential(nn.Linear(6, 6), first, nn.Linear(4, 6), second))
    masks = sparsity.masks("small")
    for prefix, part in (("1.", first), ("3.", second)):
        told = heard(part, sparsity, "small")
        assert set(told) == {"encoder.weight_ih_l0", "encoder.weight_hh_l0", "output.weight"}
        assert all(mask is masks[prefix + name] for name, mask in told.items())


def test_masks_are_taken_back_after_an_exception():
    model = Listening()
    sparsity = trained(model)
    model.told.clear()
    with pytest.raises(KeyError), sparsity.at("small"):
        raise KeyError
    assert model.told[-1] == {}


def test_with_dense_products_nobody_is_told():
    model = Listening()
    assert heard(model, trained(model, products="dense"), "small") == {}


def test_a_pass_that_is_scored_needs_gradients_of_dropped_weights():
    model = Listening()
    sparsity = trained(model, nested=False, freeze_at=2)
    assert heard(model, sparsity, "small") == {}
    update(sparsity)  # the last that counts
    assert set(heard(model, sparsity, "small")) == set(sparsity.masks("small"))


def test_levels_of_independent_masks_that_go_by_weights_alone_are_not_scored():
    model = Listening()
    sparsity = trained(model, nested=False, criterion=Magnitude("l1"))
    assert set(heard(model, sparsity, "small")) == set(sparsity.masks("small"))


def test_other_products_are_refused():
    with pytest.raises(ValueError, match="products are those of blocks or dense; got `fast`"):
        DynamicOptions(products="fast")
