"""The divergence of two lattices against its definition, in float64, and near its edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

import reference_lattice
from sparrot._core import available_kernels
from sparrot._training import lattice_divergences
from sparrot.nn import edge_log_probs, lattice_divergence

TEXTS = torch.tensor([[2, 1, 2, 3], [1, 2, 3, 1], [3, 3, 1, 1]])
LENGTHS, TARGET_LENGTHS = torch.tensor([5, 1, 3]), torch.tensor([2, 0, 4])
CLOSE = {"rtol": 1e-11, "atol": 1e-13}  # float64: a rest of e^-5 is off by 2^-52 e^5 of itself


def logits(seed: int, n_tokens: int = 5, dtype=torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, 5, 5, n_tokens, generator=generator, dtype=torch.float64).to(dtype)


def edges(seed: int, n_tokens: int = 5, dtype=torch.float64) -> torch.Tensor:
    return edge_log_probs(logits(seed, n_tokens, dtype), TEXTS, LENGTHS, TARGET_LENGTHS)


def divergence_of_tokens(log_p: np.ndarray, log_q: np.ndarray, text: list[int]) -> float:
    """Of log-probabilities (n_frames, n_labels + 1, n_tokens), with the rest as one token."""
    total = 0.0
    for t in range(len(log_p)):
        for u in range(len(text) + 1):
            own = {0, text[u]} if u < len(text) else {0}
            rest = [k for k in range(log_p.shape[2]) if k not in own]
            p, q = ([*np.exp(x[t, u, [*own]]), np.exp(x[t, u, rest]).sum()] for x in (log_p, log_q))
            total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    return total


@given(st.integers(4, 7), st.integers(0, 9))
def test_the_divergence_is_that_of_its_definition(n_tokens, seed):
    divergences = lattice_divergence(
        edges(seed, n_tokens), edges(seed + 10, n_tokens), LENGTHS, TARGET_LENGTHS
    )
    for i, (t, u) in enumerate(zip(LENGTHS.tolist(), TARGET_LENGTHS.tolist(), strict=True)):
        nodes = (
            reference_lattice.log_softmax(logits(s, n_tokens)[i, :t, : u + 1].numpy())
            for s in (seed + 10, seed)
        )
        expected = divergence_of_tokens(*nodes, TEXTS[i, :u].tolist())
        assert divergences[i].item() == pytest.approx(expected, rel=1e-11)


def test_equal_lattices_have_no_divergence_and_no_slope():
    own = edges(0).requires_grad_()
    divergences = lattice_divergence(own, own.detach(), LENGTHS, TARGET_LENGTHS)
    assert (divergences == 0).all()
    (gradient,) = torch.autograd.grad(divergences.sum(), own)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=2.0**-52)


def test_gradients_are_those_of_differences_and_none_is_the_teachers():
    own, teacher = edges(1), edges(2).requires_grad_()
    exists = own.isfinite()
    filled = own.masked_fill(~exists, 0.0).requires_grad_()
    assert gradcheck(lambda e: lattice_divergence(e, teacher, LENGTHS, TARGET_LENGTHS), filled)
    lattice_divergence(filled, teacher, LENGTHS, TARGET_LENGTHS).sum().backward()
    assert teacher.grad is None
    assert (filled.grad[~exists] == 0).all()
    assert (filled.grad[exists] != 0).all()


def test_what_does_not_exist_is_never_read():
    own, teacher = edges(1), edges(2)
    filled = own.masked_fill(own.isinf(), torch.nan).requires_grad_()
    again = teacher.masked_fill(teacher.isinf(), 7.0)
    divergences = lattice_divergence(filled, again, LENGTHS, TARGET_LENGTHS)
    assert torch.equal(divergences, lattice_divergence(own, teacher, LENGTHS, TARGET_LENGTHS))
    (gradient,) = torch.autograd.grad(divergences.sum(), filled)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("isa", available_kernels())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_instruction_sets_and_threads_agree(isa, dtype):
    own, teacher = edges(1, dtype=dtype), edges(2, dtype=dtype)
    found, gradient = torch.zeros(3, dtype=torch.float64), torch.zeros_like(own)
    lattice_divergences(own, teacher, LENGTHS, TARGET_LENGTHS, found, gradient, threads=3, isa=isa)
    wide, exact = own.double().requires_grad_(), teacher.double()
    expected = lattice_divergence(wide, exact, LENGTHS, TARGET_LENGTHS)
    torch.testing.assert_close(found, expected, **CLOSE)  # summed in float64 from the same edges
    (slopes,) = torch.autograd.grad(expected.sum(), wide)
    torch.testing.assert_close(gradient, slopes.to(dtype))


HALVES = (math.log(0.5), math.log(0.5))
EXTREMES = {
    "no rest": HALVES,
    "more than one": (1e-7, math.log(0.5)),
    "hardly a rest": (math.log1p(-1e-6), -20.0),
    "rest alone": (-1e4, -2e4),
    "nearly rest alone": (-60.0, -90.0),
    "impossible": (-math.inf, -math.inf),
    "blank alone": (0.0, -math.inf),
}


def divergence_of_edges(teacher: tuple[float, float], student: tuple[float, float], least: float) -> float:
    """KL over {blank, label, rest}, for a rest of `least` or more."""
    p, q = ([*(math.exp(x) for x in pair), 0.0] for pair in (teacher, student))
    log_p, log_q = [*teacher, 0.0], [*student, 0.0]
    for probabilities, logs in ((p, log_p), (q, log_q)):
        probabilities[2] = max(1 - (probabilities[0] + probabilities[1]), least)
        logs[2] = math.log(probabilities[2])
    return sum(a * (x - y) for a, x, y in zip(p, log_p, log_q, strict=True) if a > 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("taught", EXTREMES)
@pytest.mark.parametrize("teaching", EXTREMES)
def test_whatever_the_rest_gradients_are_finite(taught, teaching, dtype):
    own, teacher = (torch.tensor([[[EXTREMES[x]] * 2]], dtype=dtype) for x in (taught, teaching))
    own.requires_grad_()
    one, eps = torch.tensor([1]), torch.finfo(dtype).eps
    divergence = lattice_divergence(own, teacher, one, one)
    (gradient,) = torch.autograd.grad(divergence.sum(), own)
    assert gradient.isfinite().all()
    assert abs(gradient).max() <= 1.1 / eps
    (p0, p1), (q0, q1) = (x[0, 0, 0].tolist() for x in (teacher, own))
    expected = divergence_of_edges((p0, p1), (q0, q1), eps)
    expected += divergence_of_edges((p0, -math.inf), (q0, -math.inf), eps)  # where all labels are written
    torch.testing.assert_close(divergence.item(), expected, rtol=4 * eps, atol=1e-12)


def test_two_tokens_leave_no_rest():
    """Then it is the divergence of blank and label, and of blank and the other token behind the text."""
    text, one = torch.tensor([[1]]), torch.tensor([1])
    own, teacher = (3 * logits(seed, 2)[:1, :1, :2] for seed in (1, 2))
    found = lattice_divergence(*(edge_log_probs(x, text, one, one) for x in (own, teacher)), one, one)
    p, q = teacher.log_softmax(-1), own.log_softmax(-1)
    torch.testing.assert_close(found, (p.exp() * (p - q)).sum((1, 2, 3)), rtol=1e-12, atol=1e-12)


def test_nan_stays_nan():
    own, teacher = edges(1), edges(2)
    own[2, 1, 1, 1] = teacher[0, 0, 0, 0] = torch.nan
    found = lattice_divergence(own, teacher, LENGTHS, TARGET_LENGTHS)
    assert found.isnan().tolist() == [True, False, True]


def test_a_teacher_of_another_kind_is_refused():
    own = edges(1)
    with pytest.raises(ValueError, match=r"`teacher` is \(3, 4, 5, 2\): .* must be \(3, 5, 5, 2\)"):
        lattice_divergence(own, own[:, :4], LENGTHS, TARGET_LENGTHS)
    with pytest.raises(TypeError, match=r"`teacher` is torch\.float32: it must be torch\.float64"):
        lattice_divergence(own, own.float(), LENGTHS, TARGET_LENGTHS)
    with pytest.raises(ValueError, match="`lengths` of utterance 1 is 6: its frames must be 1 to 5"):
        lattice_divergence(own, own, LENGTHS.clone().index_fill(0, torch.tensor([1]), 6), TARGET_LENGTHS)
