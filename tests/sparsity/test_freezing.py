"""Weights that stand still: the sparsest sub-network's first, then the next one's."""

import functools

import pytest
import torch
from torch import Tensor, nn

from sparrot.sparsity import BlockShape, CubicSchedule, DynamicOptions, DynamicSparsity, Levels

OPTIMISERS = {
    "sgd": functools.partial(torch.optim.SGD, lr=0.05, weight_decay=0.1),
    "nesterov": functools.partial(torch.optim.SGD, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
}
LEVELS = Levels(large={}, medium={"lstm": 0.5}, small={"lstm": 0.8, "fc": 0.5})
CROSSING = Levels(large={}, medium={"lstm": 0.5, "fc": 0.5}, small={"lstm": 0.8})
SMALL, MEDIUM = 6, 9  # steps after which their weights stand still


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(6, 8)
        self.output = nn.Linear(8, 4)

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encoder(frames)[0])


def dynamic(model: nn.Module, levels: Levels = LEVELS, **options) -> DynamicSparsity:
    given = {"mask_every": 2, "freeze_at": 5, "freeze_weights_at": {"small": SMALL, "medium": MEDIUM}}
    return DynamicSparsity(
        model,
        levels,
        block=BlockShape(4, 1),
        schedule=CubicSchedule(0, 4),
        options=DynamicOptions(**given | options),
    )


def update(sparsity: DynamicSparsity, optimiser: torch.optim.Optimizer, step: int) -> None:
    frames = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(step))
    optimiser.zero_grad()
    for level in sparsity.passes():
        with sparsity.at(level):
            (sparsity.model(frames) - frames.mean(-1, keepdim=True)).square().mean().backward()
    optimiser.step()
    sparsity.step()


def kept(sparsity: DynamicSparsity, level: str) -> dict[str, Tensor]:
    return {name: ~mask.dropped_weights() for name, mask in sparsity.masks(level).items()}


def frozen_after(sparsity: DynamicSparsity, step: int) -> dict[str, Tensor]:
    """Where weights stand still after a step, by the masks of the levels whose turn has come."""
    levels = [level for level, last in (("small", SMALL), ("medium", MEDIUM)) if step >= last]
    nothing = {name: torch.zeros_like(w, dtype=torch.bool) for name, w in kept(sparsity, "large").items()}
    return {name: sum((kept(sparsity, level)[name] for level in levels), nothing[name]) for name in nothing}


@pytest.mark.parametrize("levels", [LEVELS, CROSSING], ids=["nested", "independent"])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_frozen_weights_keep_their_bits_and_all_others_move(optimiser: str, levels: Levels):
    torch.manual_seed(4)
    sparsity = dynamic(Tagger(), levels, nested=levels is LEVELS)
    stepping = OPTIMISERS[optimiser](sparsity.model.parameters())
    for step in range(1, 13):
        before = {name: p.detach().clone() for name, p in sparsity.model.named_parameters()}
        update(sparsity, stepping, step)
        still = frozen_after(sparsity, step - 1)
        for name, parameter in sparsity.model.named_parameters():
            moved = before[name] != parameter
            expected = ~still[name] if name in still else torch.ones_like(moved)
            assert torch.equal(moved, expected), (step, name)
    assert all(int(mask.sum()) > 0 for mask in still.values())
    assert torch.equal(still["output.weight"], torch.ones(4, 8, dtype=torch.bool))  # one level keeps all


@pytest.mark.parametrize("level", ["large", "medium", "small"])
def test_frozen_weights_have_no_gradient_that_could_be_clipped(level: str):
    torch.manual_seed(4)
    sparsity = dynamic(Tagger())
    stepping = OPTIMISERS["sgd"](sparsity.model.parameters())
    for step in range(1, SMALL + 2):
        update(sparsity, stepping, step)
    sparsity.model.zero_grad()
    with sparsity.at(level):
        sparsity.model(torch.ones(2, 1, 6)).sum().backward()
    still, alive = kept(sparsity, "small"), kept(sparsity, level)
    for target in sparsity.targets:
        has_gradient = target.parameter.grad != 0
        assert not (has_gradient & still[target.name]).any()
        assert not (has_gradient & ~alive[target.name]).any()
        if level != "small":
            assert has_gradient.any()


def test_an_update_that_the_optimiser_skips_freezes_nothing():
    sparsity = dynamic(Tagger())
    stepping = OPTIMISERS["sgd"](sparsity.model.parameters())
    for step in range(1, SMALL):
        update(sparsity, stepping, step)
    sparsity.step(skipped=True)
    assert not sparsity.state_dict()["frozen"]["keep"]
    update(sparsity, stepping, SMALL)
    assert sparsity.state_dict()["frozen"]["keep"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"freeze_weights_at": {"tiny": 9}}, "no level `tiny`: there are large, medium, small"),
        ({"freeze_weights_at": {"large": 9}}, "weights of the full model `large` cannot freeze"),
        (
            {"freeze_weights_at": {"medium": 9}},
            r"sparsest level first, each in its turn; got {'medium': 9} of",
        ),
        ({"freeze_weights_at": {"small": 9, "medium": 8}}, "sparsest level first, each in its turn"),
        ({"freeze_weights_at": {"small": 4}}, "`small` freeze at step 4, and its masks at 5; let the masks"),
        ({"freeze_weights_at": {"small": 9}, "freeze_at": None}, "at step 9, and its masks never"),
        (
            {"freeze_weights_at": {"small": 4, "medium": 4}, "freeze_order": "sparsest_first"},
            "`medium` freeze at step 4, and its masks at 5",
        ),
    ],
)
def test_an_order_that_cannot_be_is_refused(options: dict, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        dynamic(Tagger(), **options)


def test_weights_may_freeze_with_the_masks():
    steps = {"small": 4, "medium": 5}
    sparsity = dynamic(Tagger(), freeze_weights_at=steps, freeze_order="sparsest_first")
    stepping = OPTIMISERS["adamw"](sparsity.model.parameters())
    for step in range(1, 5):
        update(sparsity, stepping, step)
    assert {n: k.tolist() for n, k in sparsity.state_dict()["frozen"]["keep"].items()} == {
        name: mask.keep.tolist() for name, mask in sparsity.masks("small").items()
    }
