"""CTC against all alignments, the divergence against its definition, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from sparrot.train.loss import ctc_loss, framewise_divergence, greedy_tokens, required_frames

CLOSE = {"rtol": 1e-10, "atol": 1e-12}  # float64 sums of at most 3^5 probabilities


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator)


@settings(max_examples=50)
@given(st.integers(1, 5), st.lists(st.integers(1, 2), max_size=3), st.integers(0, 9))
def test_ctc_sums_over_every_alignment(n_frames, text, seed):
    logits = normal(1, n_frames, 3, seed=seed)
    loss = ctc_loss(
        logits, torch.tensor([n_frames]), torch.tensor([[*text, 0]]), torch.tensor([len(text)])
    ).item()
    labellings = reference.labellings(logits[0].log_softmax(1).tolist())
    assert loss == pytest.approx(-labellings.get(tuple(text), -math.inf), rel=1e-10)
    assert math.isinf(loss) == (n_frames < required_frames(text))


def test_ctc_of_a_batch_ignores_what_fills_it_up():
    logits, targets = normal(2, 5, 4), torch.tensor([[1, 2, 2], [3, 2, 3]])
    lengths, target_lengths = torch.tensor([5, 3]), torch.tensor([3, 1])
    filled = logits.clone()
    filled[1, 3:] = 7.0
    losses = ctc_loss(filled.requires_grad_(), lengths, targets, target_lengths)
    alone = [
        ctc_loss(
            logits[i : i + 1, : lengths[i]], lengths[i : i + 1], targets[i : i + 1], target_lengths[i : i + 1]
        )
        for i in range(2)
    ]
    torch.testing.assert_close(losses, torch.cat(alone), **CLOSE)
    losses.sum().backward()
    assert (filled.grad[1, 3:] == 0).all()
    assert (filled.grad[1, :3] != 0).any()


def test_divergence_by_hand():
    student = torch.tensor([[[0.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    teacher = torch.tensor([[[math.log(3), 0.0], [0.0, 0.0]]], dtype=torch.float64)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)  # the second frame agrees
    divergence = framewise_divergence(student, teacher, torch.tensor([2]))
    torch.testing.assert_close(divergence, torch.tensor([expected], dtype=torch.float64), **CLOSE)


def test_divergence_ends_where_utterances_end():
    student, teacher, lengths = normal(2, 5, 3, seed=1), normal(2, 5, 3, seed=2), torch.tensor([5, 2])
    divergence = framewise_divergence(student, teacher, lengths)
    log_p, log_q = teacher.log_softmax(2), student.log_softmax(2)
    expected = [
        sum(
            math.exp(log_p[i, t, k]) * (log_p[i, t, k] - log_q[i, t, k]).item()
            for t in range(lengths[i])
            for k in range(3)
        )
        for i in range(2)
    ]
    assert divergence.tolist() == pytest.approx(expected, rel=1e-10)


def test_divergence_teaches_the_student_only():
    student, teacher = normal(1, 3, 4, seed=1).requires_grad_(), normal(1, 3, 4, seed=2).requires_grad_()
    framewise_divergence(student, teacher, torch.tensor([2])).sum().backward()
    assert teacher.grad is None
    expected = student.detach().softmax(2) - teacher.detach().softmax(2)
    torch.testing.assert_close(student.grad[0, :2], expected[0, :2], **CLOSE)
    assert (student.grad[0, 2] == 0).all()


@given(st.lists(st.integers(1, 2), max_size=3), st.integers(0, 5))
def test_required_frames_is_the_shortest_alignment(text, n_frames):
    writable = reference.labellings([[0.0, 0.0, 0.0]] * n_frames)
    assert (tuple(text) in writable or (not text and n_frames == 0)) == (n_frames >= required_frames(text))


@given(st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=3), st.data())
def test_greedy_collapses_the_best_path(paths, data):
    lengths = [data.draw(st.integers(0, 4)) for _ in paths]
    logits = torch.nn.functional.one_hot(torch.tensor(paths), 3).float()
    expected = [list(reference.collapse(path[:n])) for path, n in zip(paths, lengths, strict=True)]
    assert greedy_tokens(logits, torch.tensor(lengths)) == expected
