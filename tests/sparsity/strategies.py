"""Ways of training that Hypothesis draws."""

from collections.abc import Iterator

import torch
from hypothesis import reject
from hypothesis import strategies as st
from torch import nn

from sparrot.sparsity import BlockShape, CubicSchedule, DynamicOptions, DynamicSparsity, Levels


@st.composite
def ramps(draw: st.DrawFn) -> tuple[Levels, BlockShape, DynamicOptions, int]:
    n_levels = draw(st.integers(1, 3))
    share = st.floats(0, 0.99)
    rising = {
        kind: sorted(draw(st.lists(share, min_size=n_levels, max_size=n_levels))) for kind in ("fc", "rnn")
    }
    targets = {f"level{c}": {kind: values[c] for kind, values in rising.items()} for c in range(n_levels)}
    block = BlockShape(draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    options = DynamicOptions(
        scope=draw(st.sampled_from(["matrix", "type", "global"])),
        freeze_order=draw(st.sampled_from(["together", "sparsest_first"])),
        freeze_at=draw(st.integers(4, 7)),
        smoothing=0.5,
        mask_every=1,
    )
    return Levels(full={}, **targets), block, options, draw(st.integers(0, 2**31))


def updates(ramp: tuple[Levels, BlockShape, DynamicOptions, int]) -> Iterator[DynamicSparsity]:
    """A sparsity after each of 8 updates, whose scores are drawn from few values, so that many tie."""
    levels, block, options, seed = ramp
    generator = torch.Generator().manual_seed(seed)
    try:
        sparsity = DynamicSparsity(
            nn.ModuleList([nn.Linear(7, 5), nn.RNNCell(3, 6)]),
            levels,
            block=block,
            schedule=CubicSchedule(0, 4),
            options=options,
        )
    except ValueError:  # the blocks are too few for so sparse a level
        reject()
    parameters = [target.parameter for target in sparsity.targets]
    for _ in range(8):
        with sparsity.at("full"):
            torch.autograd.backward(
                parameters, [torch.randint(0, 3, p.shape, generator=generator).float() for p in parameters]
            )
        sparsity.step()
        yield sparsity
