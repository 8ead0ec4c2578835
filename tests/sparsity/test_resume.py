"""Training that is stopped and taken up again has the same bits as training that was not."""

import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    MaskUpdate,
    WeightChange,
)

OPTIONS = {
    "nested": DynamicOptions(mask_every=3),
    "independent": DynamicOptions(mask_every=3, nested=False),
    "sparsest first": DynamicOptions(mask_every=3, freeze_at=18, freeze_order="sparsest_first"),
    "frozen weights": DynamicOptions(
        mask_every=3, freeze_at=14, freeze_weights_at={"small": 15, "medium": 17}
    ),
    "accumulated": DynamicOptions(mask_every=3, gradient="accumulated"),
    "straight through": DynamicOptions(mask_every=3, gradient="straight_through"),
    "change": DynamicOptions(mask_every=3, criterion=WeightChange()),
    "magnitude": DynamicOptions(mask_every=3, criterion=Magnitude()),
}
LEVELS = Levels(large={}, medium={"lstm": 0.5}, small={"lstm": 0.8, "fc": 0.5})


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(6, 8, num_layers=2)
        self.output = nn.Linear(8, 4)

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encoder(frames)[0])


@dataclass
class Training:
    model: nn.Module
    optimizer: torch.optim.Optimizer
    sparsity: DynamicSparsity

    def run(self, steps: range) -> list[MaskUpdate]:
        return [update for step in steps for update in self._update(step)]

    def _update(self, step: int) -> Iterator[MaskUpdate]:
        frames = torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(step))
        self.optimizer.zero_grad()
        for level in self.sparsity.passes():
            with self.sparsity.at(level):
                (self.model(frames) - frames.mean(-1, keepdim=True)).square().mean().backward()
        self.optimizer.step()
        yield from self.sparsity.step()

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sparsity": self.sparsity.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sparsity.load_state_dict(state["sparsity"])


def begin(options: DynamicOptions, seed: int = 0) -> Training:
    torch.manual_seed(seed)
    model = Tagger()
    sparsity = DynamicSparsity(
        model, LEVELS, block=BlockShape(4, 1), schedule=CubicSchedule(2, 14), options=options
    )
    return Training(model, torch.optim.AdamW(model.parameters(), lr=0.02), sparsity)


def flat(state: Any) -> list[Any]:
    """Every number and tensor of a nested state, tensors as lists of their exact values."""
    if isinstance(state, dict):
        return [(key, flat(value)) for key, value in state.items()]
    if isinstance(state, (list, tuple)):
        return [flat(value) for value in state]
    return state.tolist() if isinstance(state, Tensor) else state


@pytest.mark.parametrize("n_before", [10, 16])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_run_that_resumes_is_the_run_that_never_stopped(options: DynamicOptions, n_before: int):
    whole, first = begin(options), begin(options)
    updates = whole.run(range(20))
    before = first.run(range(n_before))
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    second = begin(options, seed=99)
    second.load(torch.load(file, weights_only=True))
    assert before + second.run(range(n_before, 20)) == updates
    assert flat(second.state()) == flat(whole.state())
    assert any(update.returned for update in updates) or options.criterion == Magnitude()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_state_does_not_change_as_training_goes_on(options: DynamicOptions):
    training = begin(options)
    training.run(range(4))
    taken = training.sparsity.state_dict()
    copied = copy.deepcopy(taken)
    training.run(range(4, 12))
    assert flat(taken) == flat(copied)
    other = begin(options)
    other.sparsity.load_state_dict(taken)
    other.run(range(4, 12))
    assert flat(taken) == flat(copied)


def test_a_state_that_is_older_than_some_of_the_options_is_taken_up():
    training, other = begin(OPTIONS["nested"]), begin(OPTIONS["nested"])
    training.run(range(4))
    state = training.sparsity.state_dict()
    del state["described"]["gradient"], state["frozen"]
    assert other.sparsity.matches(state)
    other.sparsity.load_state_dict(state)
    assert flat(other.sparsity.state_dict()) == flat(training.sparsity.state_dict())
    with pytest.raises(ValueError, match="has other gradient, full; this one has accumulated"):
        begin(OPTIONS["accumulated"]).sparsity.load_state_dict(state)


@pytest.mark.parametrize("name", ["nested", "accumulated"])
def test_scores_of_an_unfinished_update_are_forgotten_on_loading(name: str):
    training, again = begin(OPTIONS[name]), begin(OPTIONS[name])
    state = copy.deepcopy(training.state())
    with training.sparsity.at("large"):
        training.model(torch.ones(2, 1, 6)).sum().backward()
    training.load(state)
    assert training.run(range(9)) == again.run(range(9))
    assert flat(training.sparsity.state_dict()) == flat(again.sparsity.state_dict())


def dynamic(
    model: nn.Module, levels: Levels = LEVELS, rows: int = 4, options: DynamicOptions = OPTIONS["nested"]
) -> DynamicSparsity:
    return DynamicSparsity(
        model, levels, block=BlockShape(rows, 1), schedule=CubicSchedule(0, 9), options=options
    )


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            lambda: dynamic(
                Tagger(), Levels(large={}, medium={"lstm": 0.5}, small={"lstm": 0.8, "fc": 0.25})
            ),
            "has other levels, .*'fc': 0.25.* this one has .*'fc': 0.5",
        ),
        (lambda: dynamic(nn.Sequential(Tagger())), "has other matrices, .*0.encoder.weight_ih_l0"),
        (lambda: dynamic(Tagger(), rows=2), "has other matrices, .*2x1.* this one has .*4x1"),
        (
            lambda: dynamic(Tagger(), options=OPTIONS["independent"]),
            "has other nesting, False; this one has True",
        ),
        (
            lambda: dynamic(Tagger(), options=OPTIONS["change"]),
            r"has other criterion, WeightChange\(\); this one has WeightGradient\(\)",
        ),
        (
            lambda: dynamic(Tagger(), options=DynamicOptions(scope="type")),
            "has other scope, type; this one has matrix",
        ),
        (
            lambda: dynamic(Tagger(), options=OPTIONS["accumulated"]),
            "has other gradient, accumulated; this one has full",
        ),
    ],
)
def test_a_state_of_another_training_is_refused_and_nothing_is_taken_up(other, sentence: str):
    sparsity = begin(OPTIONS["nested"]).sparsity
    before = flat(sparsity.state_dict())
    theirs = other()
    theirs.step_count = 5
    with pytest.raises(ValueError, match=sentence):
        sparsity.load_state_dict(theirs.state_dict())
    assert flat(sparsity.state_dict()) == before


def test_a_training_may_start_from_the_masks_and_scores_of_another():
    ended, training = begin(OPTIONS["frozen weights"]), begin(OPTIONS["nested"])
    ended.run(range(16))
    training.sparsity.start_from(ended.sparsity.state_dict())
    assert training.sparsity.step_count == 0
    given, taken = ended.sparsity.state_dict(), training.sparsity.state_dict()
    assert given["frozen"]["keep"]
    nothing = {"keep": {}, "values": {}}
    assert flat(taken) == flat(given | {"step_count": 0, "frozen": nothing})
    assert training.sparsity.drops("small")
