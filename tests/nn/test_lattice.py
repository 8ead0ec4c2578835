"""The compiled transducer lattice against every alignment, in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import reference_lattice
from sparrot._training import lattice_losses


def losses_of(edges, lengths, target_lengths, threads=1):
    losses, gradient = torch.full((len(edges),), torch.nan, dtype=torch.float64), torch.zeros_like(edges)
    lengths, target_lengths = torch.tensor(lengths), torch.tensor(target_lengths)
    lattice_losses(edges, lengths, target_lengths, losses, gradient, threads=threads)
    return losses, gradient


def random_edges(*shape: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    return logits.log_softmax(-1)[..., :2].contiguous()


@given(st.integers(1, 5), st.integers(0, 4), st.sampled_from([0.1, 3.0]), st.integers(0, 9))
def test_losses_sum_over_every_alignment(n_frames, n_labels, spread, seed):
    edges = random_edges(1, n_frames, n_labels + 1, seed=seed, spread=spread)
    (loss,), gradient = losses_of(edges, [n_frames], [n_labels])
    expected, slope = reference_lattice.loss(edges[0].numpy(), n_frames, n_labels)
    # Up to 2 · 9 additions of numbers to 200, and up to 126 alignments.
    assert loss.item() == pytest.approx(expected, rel=1e-13, abs=1e-13)
    np.testing.assert_allclose(gradient[0], slope, rtol=1e-12, atol=1e-12)


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


@pytest.mark.parametrize(
    ("lengths", "target_lengths", "words"),
    [
        ([3, 0], [1, 1], "`lengths` of utterance 1 is 0: it must be 1 to 3"),
        ([4, 3], [1, 1], "`lengths` of utterance 0 is 4: it must be 1 to 3"),
        ([3, 3], [2, 1], "`target_lengths` of utterance 0 is 2: it must be 0 to 1"),
        ([3, 3], [1, -1], "`target_lengths` of utterance 1 is -1: it must be 0 to 1"),
        ([3], [1, 1], "different batches"),
    ],
)
def test_lengths_outside_the_arrays_are_refused(lengths, target_lengths, words):
    with pytest.raises(ValueError, match=words):
        losses_of(random_edges(2, 3, 2, seed=0), lengths, target_lengths)
