"""Exactly k of n blocks, and the same ones on every machine."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparrot.sparsity import joint_ranks, n_kept, ranks
from sparrot.sparsity.ranking import joint_best
from sparsity import plain

SCORES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=40)  # few values: many ties


@pytest.mark.parametrize(
    ("n_blocks", "sparsity", "kept"),
    [
        (10, 0.0, 10),
        (10, 0.7, 3),
        (10, 0.9, 1),
        (16, 3 / 16, 13),
        (7, 0.5, 4),  # 3.5 is rounded up
        (5, 0.9, 1),  # 0.5 too, although 1 − 0.9 is less than 0.1 in binary
        (10, 0.85, 2),
        (1000, 0.9005, 100),  # 99.5
        (10, 1.0, 0),
        (0, 0.5, 0),
    ],
)
def test_how_many_blocks_are_kept(n_blocks: int, sparsity: float, kept: int):
    assert n_kept(n_blocks, sparsity) == kept


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_kept_blocks_follow_the_formula_in_decimal(n_blocks: int, sparsity: float):
    assert n_kept(n_blocks, sparsity) == plain.n_kept(n_blocks, sparsity)


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_a_sparser_level_never_keeps_more(n_blocks: int, one: float, other: float):
    assert n_kept(n_blocks, max(one, other)) <= n_kept(n_blocks, min(one, other))


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, float("nan")])
def test_a_sparsity_outside_its_range_is_refused(sparsity: float):
    with pytest.raises(ValueError, match="within 0 and 1"):
        n_kept(10, sparsity)


@settings(deadline=None)
@given(SCORES, st.data())
def test_the_best_k_are_kept_and_ties_go_to_the_lowest_index(scores: list[float], data: st.DataObject):
    k = data.draw(st.integers(0, len(scores)))
    kept = (ranks(torch.tensor(scores)) < k).nonzero().flatten().tolist()
    assert set(kept) == plain.best(scores, k)


def test_ranks_keep_the_shape_of_the_blocks():
    assert ranks(torch.tensor([[1.0, 3.0], [2.0, 3.0]])).tolist() == [[3, 0], [2, 1]]


def test_many_equal_scores_rank_in_index_order():
    # A sort that is not stable shuffles equal scores only when there are more than a few.
    assert torch.equal(ranks(torch.zeros(100_000)), torch.arange(100_000))


def test_groups_rank_as_one_vector_each():
    scores = {
        "a": torch.tensor([[1.0, 5.0]]),
        "b": torch.tensor([[5.0], [0.0]]),
        "c": torch.tensor([[9.0]]),
    }
    ranked = joint_ranks(scores, [["a", "b"], ["c"]])
    assert ranked["a"].tolist() == [[2, 0]]
    assert ranked["b"].tolist() == [[1], [3]]  # the 5 of `a` comes first
    assert ranked["c"].tolist() == [[0]]


def test_the_best_block_of_each_matrix_comes_before_all_others():
    scores = {"a": torch.tensor([[9.0, 7.0, 8.0]]), "b": torch.tensor([[0.0, 0.5, 0.5]])}
    ranked = joint_ranks(scores, [["a", "b"]])
    assert ranked["a"].tolist() == [[0, 3, 2]]
    assert ranked["b"].tolist() == [[5, 1, 4]]


def test_a_higher_tier_comes_first_whatever_it_scores():
    scores, tiers = torch.tensor([[5.0, 9.0, 5.0], [1.0, 7.0, 0.0]]), torch.tensor([[0, 0, 1], [2, 0, 1]])
    assert ranks(scores, tiers).tolist() == [[5, 3, 1], [0, 4, 2]]
    pooled = {"a": scores, "b": torch.tensor([[8.0]])}
    joint = joint_ranks(pooled, [["a", "b"]], {"a": tiers, "b": torch.tensor([[2]])})
    assert joint["b"].item() == 0  # the best of its matrix
    assert joint["a"].tolist() == [[6, 4, 2], [1, 5, 3]]


@settings(deadline=None)
@given(st.lists(SCORES, min_size=1, max_size=4), st.integers(1, 4), st.data())
def test_the_best_are_found_without_sorting(matrices: list[list[float]], n_groups: int, data: st.DataObject):
    scores = {i: torch.tensor(matrix)[None] for i, matrix in enumerate(matrices)}
    groups = [group for k in range(n_groups) if (group := [i for i in scores if i % n_groups == k])]
    wanted = [data.draw(st.integers(0, sum(scores[i].numel() for i in group))) for group in groups]
    best, ranked = joint_best(scores, groups, wanted), joint_ranks(scores, groups)
    for group, n in zip(groups, wanted, strict=True):
        for i in group:
            assert torch.equal(best[i], ranked[i] < n)
