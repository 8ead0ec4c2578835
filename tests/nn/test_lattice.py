"""The compiled parts of the transducer's loss, on every instruction set, against float64 and alignments."""

from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference_lattice
from sparrot._core import available_kernels
from sparrot._training import edge_gradients, edge_log_probs, lattice_losses

ISAS = available_kernels()
UNIT = {torch.float32: 2.0**-24, torch.float64: 2.0**-53}
LEAST = {torch.float32: 2.0**-126, torch.float64: 2.0**-1022}  # below it, exp is zero


def losses_of(edges, lengths, target_lengths, threads=1, isa=None):
    losses, gradient = torch.full((len(edges),), torch.nan, dtype=torch.float64), torch.zeros_like(edges)
    lengths, target_lengths = torch.tensor(lengths), torch.tensor(target_lengths)
    lattice_losses(edges, lengths, target_lengths, losses, gradient, threads=threads, isa=isa)
    return losses, gradient


def normal(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def random_edges(*shape: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    return (spread * normal(*shape, 3, seed=seed)).log_softmax(-1)[..., :2].contiguous()


@pytest.mark.parametrize("isa", ISAS)
@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from([0.1, 3.0, 1e4]), st.integers(0, 9))
def test_losses_sum_over_every_alignment(isa, n_frames, n_labels, spread, seed):
    """To first order in u: each of n edges of an alignment is added to what is at most `size`, LogAdd adds
    3 u, and a probability is off by what its logarithms are off by.
    """
    edges = random_edges(1, n_frames, n_labels + 1, seed=seed, spread=spread)
    expected, slope = reference_lattice.loss(edges[0].numpy())
    (loss,), gradient = losses_of(edges, [n_frames], [n_labels], isa=isa)
    size = (n_frames + n_labels) * abs(edges).max().item()
    bound = (n_frames + n_labels) * (2 * size + 3) * UNIT[torch.float64]
    assert abs(loss.item() - expected) <= bound
    np.testing.assert_allclose(
        gradient[0], slope, rtol=3 * bound + 8 * size * UNIT[torch.float64], atol=1e-300
    )


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_utterances_of_a_batch_are_by_themselves(threads):
    edges = random_edges(4, 6, 5, seed=1)
    sizes = [(6, 4), (1, 0), (6, 0), (2, 4)]
    losses, gradient = losses_of(edges, *map(list, zip(*sizes, strict=True)), threads=threads)
    for i, (n_frames, n_labels) in enumerate(sizes):
        alone = edges[i : i + 1, :n_frames, : n_labels + 1].contiguous()
        loss, slope = losses_of(alone, [n_frames], [n_labels])
        assert torch.equal(losses[i : i + 1], loss)
        assert torch.equal(gradient[i : i + 1, :n_frames, : n_labels + 1], slope)
        assert not gradient[i, n_frames:].any()
        assert not gradient[i, :, n_labels + 1 :].any()
        assert not gradient[i, :, n_labels, 1].any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("n_labels", [0, 1, 7, 8, 30])
def test_a_long_lattice_is_that_of_counting(isa, n_labels):
    """Where every edge has the same probability, there are so many alignments of equal probability."""
    n_frames = 50
    edges = torch.full((1, n_frames, n_labels + 1, 2), log(0.25), dtype=torch.float32)
    (loss,), gradient = losses_of(edges, [n_frames], [n_labels], isa=isa)
    logs = np.log(np.arange(1, 100, dtype=np.float64))
    n_ways = logs[: n_frames + n_labels - 1].sum() - logs[:n_labels].sum() - logs[: n_frames - 1].sum()
    expected = -n_ways - (n_frames + n_labels) * edges[0, 0, 0, 0].double().item()
    assert loss.item() == pytest.approx(expected, rel=1e-13)
    taken = gradient.double().sum((1, 2))[0]  # every alignment has so many blanks and labels
    torch.testing.assert_close(
        taken, torch.tensor([-n_frames, -n_labels], dtype=torch.float64), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("n_tokens", [2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 500])
def test_edges_are_within_rounding(isa, dtype, n_tokens):
    """The bound of `sparrot.nn.edge_log_probs`; a probability e^−d adds the error of its exp, (3 d + 3) u."""
    n_frames, n_labels = 3, 4
    logits = 4 * normal(1, n_frames, n_labels + 1, n_tokens, seed=n_tokens, dtype=dtype)
    logits[0, 1] *= 1e3
    text = [1 + i % (n_tokens - 1) for i in range(n_labels)]
    batch = (logits, torch.tensor([text]), torch.tensor([n_frames]), torch.tensor([n_labels]))
    edges, normalisers = torch.full((2, 1, n_frames, n_labels + 1, 2), torch.nan, dtype=dtype)
    edge_log_probs(*batch, edges, normalisers, threads=1, isa=isa)
    expected = reference_lattice.edges(logits[0].numpy(), text)
    exists = np.isfinite(expected)
    assert (edges[0].numpy()[~exists] == -np.inf).all()
    sums = n_tokens + 3 * log(n_tokens) + 3
    error = abs(edges[0].double().numpy()[exists] - expected[exists])
    assert (error <= (sums + 2 * abs(expected[exists]) + 2) * UNIT[dtype]).all()

    slopes = normal(1, n_frames, n_labels + 1, 2, seed=1, dtype=dtype)
    gradient = torch.full_like(logits, torch.nan)
    edge_gradients(*batch, normalisers, slopes, gradient, threads=1, isa=isa)
    exact = reference_lattice.logit_gradient(logits[0].numpy(), text, slopes[0].double().numpy())
    distance = (logits.amax(-1, keepdim=True) - logits)[0].double().numpy()
    size = abs(slopes[0]).double().sum(-1, keepdim=True).numpy()
    share = size * np.exp(reference_lattice.log_softmax(logits[0].double().numpy()))
    bound = share * (sums + 3 * distance + 9) * UNIT[dtype] + 3 * size * UNIT[dtype] * (exact != 0)
    assert (abs(gradient[0].double().numpy() - exact) <= bound + size * LEAST[dtype]).all()


def test_a_node_without_slope_is_not_computed():
    logits = torch.full((1, 1, 2, 3), torch.nan)
    batch = (logits, torch.tensor([[1]]), torch.tensor([1]), torch.tensor([1]))
    slopes, gradient = torch.zeros(1, 1, 2, 2), torch.full_like(logits, 7)
    edge_gradients(*batch, torch.full_like(slopes, torch.nan), slopes, gradient, threads=1)
    assert not gradient.any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", UNIT)
@pytest.mark.parametrize("place", [0, 1, 16, 18])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_logit_that_is_no_number_shows_in_its_edges(isa, dtype, place, value):
    logits = normal(1, 1, 2, 19, dtype=dtype)
    logits[0, 0, 0, place] = value
    edges, normalisers = torch.zeros(2, 1, 1, 2, 2, dtype=dtype)
    batch = (logits, torch.tensor([[1]]), torch.tensor([1]), torch.tensor([1]))
    edge_log_probs(*batch, edges, normalisers, threads=1, isa=isa)
    assert edges[0, 0, 0].isnan().all()
    assert edges[0, 0, 1, 0].isfinite()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("t", "u"), [(0, 0), (0, 4), (3, 0), (3, 2), (5, 4)])
@pytest.mark.parametrize("others", [-np.inf, 0.0])
def test_an_edge_that_is_no_number_shows_in_the_loss(isa, t, u, others):
    edges = torch.full((1, 6, 5, 2), others, dtype=torch.float64)
    edges[0, t, u, 0] = torch.nan
    losses, gradient = losses_of(edges, [6], [4], isa=isa)
    assert losses.isnan().all()
    assert gradient[0, :, :, 0].isnan().all()


@pytest.mark.parametrize("isa", ISAS)
def test_a_text_that_no_alignment_writes_has_an_infinite_loss(isa):
    edges = random_edges(1, 6, 5, seed=2)
    edges[0, :, 2, 1] = -np.inf
    losses, gradient = losses_of(edges, [6], [4], isa=isa)
    assert losses.tolist() == [np.inf]
    assert gradient[0, :, :, 0].isnan().all()
    assert not gradient[0, :, 4, 1].any()


@pytest.mark.parametrize(
    ("lengths", "target_lengths", "words"),
    [
        ([3, 0], [1, 1], "`lengths` of utterance 1 is 0: its frames must be 1 to 3"),
        ([4, 3], [1, 1], "`lengths` of utterance 0 is 4: its frames must be 1 to 3"),
        ([3, 3], [2, 1], "`target_lengths` of utterance 0 is 2: its labels must be 0 to 1"),
        ([3, 3], [1, -1], "`target_lengths` of utterance 1 is -1: its labels must be 0 to 1"),
        ([3], [1, 1], "not of one batch"),
    ],
)
def test_lengths_outside_the_arrays_are_refused(lengths, target_lengths, words):
    with pytest.raises(ValueError, match=words):
        losses_of(random_edges(2, 3, 2, seed=0), lengths, target_lengths)


def test_arrays_of_other_shapes_are_refused():
    """Nothing is written past their ends."""
    logits, edges = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2, 3, 2)
    texts = (torch.ones(1, 2, dtype=torch.int64), torch.tensor([2]), torch.tensor([2]))
    short = torch.zeros(1, 1, 3, 2)
    losses = torch.zeros(1, dtype=torch.float64)
    for call in (
        lambda: edge_log_probs(logits, *texts, short, edges, threads=1),
        lambda: edge_log_probs(logits, *texts, edges, short, threads=1),
        lambda: edge_log_probs(logits, texts[0][:, :1].contiguous(), *texts[1:], edges, edges, threads=1),
        lambda: edge_gradients(logits, *texts, short, edges, logits, threads=1),
        lambda: edge_gradients(logits, *texts, edges, short, logits, threads=1),
        lambda: edge_gradients(logits, *texts, edges, edges, logits[..., :3].contiguous(), threads=1),
        lambda: lattice_losses(edges, *texts[1:], losses, short, threads=1),
        lambda: lattice_losses(edges, *texts[1:], losses[:0], edges, threads=1),
    ):
        with pytest.raises(ValueError, match="not of one batch"):
            call()
    with pytest.raises(TypeError):
        lattice_losses(edges.double(), *texts[1:], losses, edges, threads=1)
    with pytest.raises(ValueError, match="there are no kernels `mmx`"):
        losses_of(edges, [2], [2], isa="mmx")
