"""Ways of training that Hypothesis draws."""

from hypothesis import strategies as st

from sparrot.sparsity import BlockShape, DynamicOptions, Levels


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
