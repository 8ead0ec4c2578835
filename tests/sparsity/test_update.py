"""The whole update against plain loops over masked copies of the model, in float64."""

import copy
import functools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from sparrot.sparsity import BlockShape, CubicSchedule, DynamicOptions, DynamicSparsity, Levels
from sparsity.plain import Matrix, PlainTraining, Plan

# PyTorch's own, for an LSTM with projection: "not supported with oneDNN. Using default implementation."
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")

N_STEPS = 12
THREE_LEVELS = {"large": {}, "medium": {"lstm": 0.5}, "small": {"lstm": 0.8, "fc": 0.5}}


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(3, 5, proj_size=2, bidirectional=True)
        self.output = nn.Linear(4, 3)

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encoder(frames)[0])


class Speller(nn.Module):
    """A GRU over an embedding that is also the output matrix: two gradients meet in one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.encoder = nn.GRU(4, 4)
        self.output = nn.Linear(4, 7)
        self.output.weight = self.embedding.weight

    def forward(self, frames: Tensor) -> Tensor:
        tokens = (frames[..., 0].abs() * 10).long() % 7
        return self.output(self.encoder(self.embedding(tokens))[0])


TAGGER = Plan(
    matrices=(
        Matrix("encoder.weight_ih_l0", "lstm", 4),
        Matrix("encoder.weight_hh_l0", "lstm", 4),
        Matrix("encoder.weight_hr_l0", "lstm", 1),
        Matrix("encoder.weight_ih_l0_reverse", "lstm", 4),
        Matrix("encoder.weight_hh_l0_reverse", "lstm", 4),
        Matrix("encoder.weight_hr_l0_reverse", "lstm", 1),
        Matrix("output.weight", "fc", 1),
    ),
    levels=THREE_LEVELS,
    block=(2, 1),  # 5 rows a gate: edge blocks
    end=8,
)
SPELLER = Plan(
    matrices=(
        Matrix("embedding.weight", "embedding", 1),
        Matrix("encoder.weight_ih_l0", "gru", 3),
        Matrix("encoder.weight_hh_l0", "gru", 3),
    ),
    levels={"large": {}, "small": {"gru": 0.7, "embedding": 0.3}},
    block=(3, 2),
    end=6,
)
CROSSING = {"large": {}, "medium": {"lstm": 0.5, "fc": 0.5}, "small": {"lstm": 0.8, "fc": 0.2}}

PLANS = {
    "nested, by matrix": (Tagger, TAGGER),
    "by type": (Tagger, replace(TAGGER, scope="type")),
    "global": (Tagger, replace(TAGGER, scope="global")),
    "accumulated": (Tagger, replace(TAGGER, gradient="accumulated")),
    "straight through": (Tagger, replace(TAGGER, gradient="straight_through")),
    "independent": (Tagger, replace(TAGGER, nested=False)),
    "independent and crossing": (Tagger, replace(TAGGER, nested=False, levels=CROSSING)),
    "unstructured, every step, no memory": (
        Tagger,
        replace(TAGGER, block=(1, 1), mask_every=1, smoothing=0.0),
    ),
    "shared matrix": (Speller, SPELLER),
}


def loss(model: nn.Module, batch: Tensor) -> Tensor:
    target = batch.sum(-1, keepdim=True).sin()
    return (model(batch) - target).square().mean()


def micro_batches(step: int, n: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(4, 2, 3, generator=generator, dtype=torch.float64) for _ in range(n)]


def dynamic(model: nn.Module, plan: Plan) -> DynamicSparsity:
    return DynamicSparsity(
        model,
        Levels(**plan.levels),
        block=BlockShape(*plan.block),
        schedule=CubicSchedule(0, plan.end),
        options=DynamicOptions(
            scope=plan.scope,
            nested=plan.nested,
            mask_every=plan.mask_every,
            smoothing=plan.smoothing,
            gradient=plan.gradient,
        ),
    )


def update(sparsity: DynamicSparsity, optimizer: torch.optim.Optimizer, batches: list[Tensor]) -> None:
    optimizer.zero_grad()
    for level in sparsity.passes():
        with sparsity.at(level):
            for batch in batches:
                loss(sparsity.model, batch).backward()
    optimizer.step()
    sparsity.step()


def dropped_indices(sparsity: DynamicSparsity, level: str) -> dict[str, set[int]]:
    return {
        name: set((~mask.keep).flatten().nonzero().flatten().tolist())
        for name, mask in sparsity.masks(level).items()
    }


OPTIMIZERS = {
    "momentum": functools.partial(torch.optim.SGD, lr=0.2, momentum=0.9),
    "adamw": functools.partial(torch.optim.AdamW, lr=0.01),
}


@pytest.mark.parametrize(
    ("name", "n_micro", "optimizer"),
    [(name, 1, "momentum") for name in PLANS]
    + [(name, 2, "adamw") for name in ("nested, by matrix", "accumulated", "straight through")]
    + [("independent", 2, "adamw")],
)
def test_an_update_is_the_one_of_the_plain_loops(name: str, n_micro: int, optimizer: str):
    make, plan = PLANS[name]
    torch.manual_seed(11)
    model = make().double()
    twin = copy.deepcopy(model)
    sparsity, ours = dynamic(model, plan), OPTIMIZERS[optimizer](model.parameters())
    plain = PlainTraining(twin, OPTIMIZERS[optimizer](twin.parameters()), plan, loss)
    for step in range(N_STEPS):
        update(sparsity, ours, micro_batches(step, n_micro))
        plain.update(micro_batches(step, n_micro))
        for level in list(plan.levels)[1:]:
            assert dropped_indices(sparsity, level) == plain.dropped[level], (step, level)
    for (parameter, weight), other in zip(model.named_parameters(), twin.parameters(), strict=True):
        # The same sums in another order: float64 rounding, amplified by a dozen steps of training.
        torch.testing.assert_close(weight, other, rtol=1e-9, atol=1e-11, msg=parameter)
    assert all(any(plain.dropped[level].values()) for level in list(plan.levels)[1:])


def test_plain_scores_of_a_hand_calculated_model():
    # y = w x with x = 2: the gradient of y is 2, so the score of the block is |3·2| + |−1·2| = 8.
    model = nn.Linear(1, 2, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0], [-1.0]]))
    plan = Plan((Matrix("weight", "fc", 1),), {"large": {}}, block=(2, 1), end=1)
    plain = PlainTraining(model, torch.optim.SGD(model.parameters(), lr=0.5), plan, lambda m, x: m(x).sum())
    plain.update([torch.tensor([[2.0]], dtype=torch.float64)])
    assert plain.scores == {"large": {"weight": [8.0]}}
    assert model.weight.tolist() == [[2.0], [-2.0]]
