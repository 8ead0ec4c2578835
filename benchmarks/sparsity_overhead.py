"""What dynamic sparsity costs on top of its forward and backward passes.

    python benchmarks/sparsity_overhead.py --json

Two figures of one update (C + 1 passes and the masks, without the optimiser) of a 3x512 LSTM recogniser on
16 utterances of 200 frames:

- `sparsity.masking.share`: masking, restoring, scoring and renewing masks, as a share of the update. It is
  the cost of an update whose model costs nothing: the same matrices receive ready gradients, at the levels
  and without them, and the difference is the overhead.
- `sparsity.passes.ratio`: C + 1 passes at their levels over C + 1 dense passes, in turn.

Figures are medians of CPU seconds of this process, so that other programs on the machine do not count. Before
it times anything, the benchmark checks the output of a level against a model zeroed by hand, bit for bit.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: threads that spin spoil the timing

import copy
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options
from sparrot.sparsity import BlockShape, CubicSchedule, DynamicOptions, DynamicSparsity, Levels

N_UTTERANCES, N_FRAMES, N_INPUTS, N_UNITS, N_TOKENS = 16, 200, 120, 512, 32
LEVELS = Levels(large={}, medium={"lstm": 0.7}, small={"lstm": 0.9, "fc": 0.5})
GOALS = {"sparsity.masking.share": 0.05, "sparsity.passes.ratio": 1.05}  # at most


class Recogniser(nn.Module):
    """Three LSTM layers and an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(N_INPUTS, N_UNITS, num_layers=3)
        self.output = nn.Linear(N_UNITS, N_TOKENS)

    def forward(self, frames: Tensor) -> Tensor:
        """Token scores (frames, utterances, tokens) of frames (frames, utterances, inputs)."""
        scores: Tensor = self.output(self.encoder(frames)[0])
        return scores


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", rounds=3)
    print(measured(given.rounds, why).shown(as_json=given.json))


def measured(n_rounds: int, why: dict[str, str]) -> Result:
    """All rows and goals."""
    torch.manual_seed(0)
    frames = torch.randn(N_FRAMES, N_UTTERANCES, N_INPUTS)
    sparsity = at_its_levels(Recogniser(), DynamicOptions())
    check(sparsity, frames)
    overheads = overheads_s(sparsity, n_rounds)
    renewal = renewal_s(at_its_levels(sparsity.model, DynamicOptions(mask_every=1)), n_rounds)
    passes = [passes_s(sparsity, frames) for _ in range(n_rounds)]
    update_s = median(sum(sparse for _, sparse in times.values()) for times in passes)
    amortised = [overhead + renewal / sparsity.options.mask_every for overhead in overheads]
    rows = [
        row("dense", level, "pass.seconds", [times[level][0] for times in passes]) for level in LEVELS
    ] + [
        row("dynamic sparsity", level, "pass.seconds", [times[level][1] for times in passes])
        for level in LEVELS
    ]
    rows += [
        row("dynamic sparsity", "all", "masks.renewal.seconds", [renewal]),
        row("dynamic sparsity", "all", "masking.seconds", amortised),
        row("dynamic sparsity", "all", "sparsity.masking.share", [cost / update_s for cost in amortised]),
        row("dynamic sparsity", "all", "sparsity.passes.ratio", [ratio(times) for times in passes]),
    ]
    command = f"python benchmarks/sparsity_overhead.py {' '.join(sys.argv[1:])}".strip()
    return Result(command, [0], rows, [goal(found, why) for found in rows if found["metric"] in GOALS])


def at_its_levels(model: nn.Module, options: DynamicOptions) -> DynamicSparsity:
    """Dynamic sparsity one step into training, at the end of its ramp."""
    sparsity = DynamicSparsity(
        model, LEVELS, block=BlockShape(16, 1), schedule=CubicSchedule(0, 1), options=options
    )
    free_update(sparsity, ready_gradients(sparsity))
    return sparsity


def ready_gradients(sparsity: DynamicSparsity) -> list[Tensor]:
    """A gradient for each prunable matrix."""
    return [torch.randn_like(target.parameter) for target in sparsity.targets]


def free_update(sparsity: DynamicSparsity, gradients: list[Tensor]) -> None:
    """An update in which forward and backward cost nothing."""
    parameters = [target.parameter for target in sparsity.targets]
    for level in sparsity.passes():
        with sparsity.at(level):
            torch.autograd.backward(parameters, gradients)
    sparsity.step()


def check(sparsity: DynamicSparsity, frames: Tensor) -> None:
    """Stops the benchmark if a level is not the model zeroed by hand."""
    for level in sparsity.passes():
        twin = copy.deepcopy(sparsity.model)
        with torch.no_grad():
            for name, mask in sparsity.masks(level).items():
                twin.get_parameter(name).copy_(mask.apply(twin.get_parameter(name)))
            with sparsity.at(level):
                if not torch.equal(sparsity.model(frames[:10]), twin(frames[:10])):
                    raise SystemExit(f"the outputs at `{level}` are wrong; nothing was timed")


def overheads_s(sparsity: DynamicSparsity, n_rounds: int) -> list[float]:
    """Seconds that levels add to an update, masks not renewed, `10 n_rounds` times."""
    gradients = ready_gradients(sparsity)
    parameters = [target.parameter for target in sparsity.targets]

    def without_levels() -> None:
        for _ in sparsity.passes():
            torch.autograd.backward(parameters, gradients)

    def with_levels() -> None:
        free_update(sparsity, gradients)

    return [seconds(with_levels) - seconds(without_levels) for _ in range(10 * n_rounds)]


def renewal_s(sparsity: DynamicSparsity, n_rounds: int) -> float:
    """Seconds of a step that renews the masks."""
    return median(seconds(sparsity.step) for _ in range(3 * n_rounds))


def passes_s(sparsity: DynamicSparsity, frames: Tensor) -> dict[str, tuple[float, float]]:
    """Level → seconds of a dense pass and of one at the level, which follow each other."""

    def dense() -> None:
        sparsity.model(frames).square().mean().backward()

    def masked(level: str) -> None:
        with sparsity.at(level):
            dense()

    return {level: (seconds(dense), seconds(partial(masked, level))) for level in sparsity.passes()}


def ratio(times: dict[str, tuple[float, float]]) -> float:
    """Passes at their levels over as many dense ones."""
    return sum(sparse for _, sparse in times.values()) / sum(dense for dense, _ in times.values())


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of this process while `run` runs."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def row(method: str, level: str, metric: str, values: list[float]) -> dict[str, Any]:
    """One figure: the median, and half the range as its spread."""
    return {
        "method": method,
        "set": f"{N_UTTERANCES} utterances of {N_FRAMES} frames",
        "level": level,
        "metric": metric,
        "value": median(values),
        "unit": "s" if metric.endswith("seconds") else "",
        "spread": (max(values) - min(values)) / 2,
        "threads": torch.get_num_threads(),
    }


def goal(found: dict[str, Any], why: dict[str, str]) -> Goal:
    """Whether a figure is as low as it has to be."""
    name = found["metric"]
    return Goal(name, GOALS[name], found["value"], "lower", why=why.get(name, UNEXPLAINED))


if __name__ == "__main__":
    main()
