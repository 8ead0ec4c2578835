"""The transducer's loss against all alignments and against itself, and what it takes and refuses."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.profiler import profile

import reference_lattice
from sparrot.nn import edge_log_probs, rnnt_loss, rnnt_loss_by_rows, transducer_loss

LENGTHS, TARGET_LENGTHS = torch.tensor([6, 1, 4, 2]), torch.tensor([3, 0, 4, 2])
CLOSE = {"rtol": 1e-11, "atol": 1e-13}  # float64: hundreds of roundings of numbers to a hundred


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def texts(n: int, n_labels: int, n_tokens: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, n_tokens, (n, n_labels), generator=generator)


def batch(dtype=torch.float64, n_tokens: int = 7) -> tuple[torch.Tensor, ...]:
    """Logits and texts of four utterances: the longest text is not that of the longest utterance."""
    logits = 2 * normal(4, 6, 5, n_tokens).to(dtype)
    return logits.requires_grad_(), texts(4, 4, n_tokens), LENGTHS, TARGET_LENGTHS


def outside(logits: torch.Tensor) -> torch.Tensor:
    """True for the nodes outside the utterances of `batch`."""
    frames, labels = torch.arange(logits.shape[1]), torch.arange(logits.shape[2])
    return (frames[None, :, None] >= LENGTHS[:, None, None]) | (labels > TARGET_LENGTHS[:, None, None])


@given(
    st.integers(1, 4), st.integers(0, 4), st.integers(2, 5), st.sampled_from([0.1, 3.0]), st.integers(0, 9)
)
def test_the_loss_is_that_of_all_alignments(n_frames, n_labels, n_tokens, spread, seed):
    logits = (spread * normal(1, n_frames, n_labels + 1, n_tokens, seed=seed)).requires_grad_()
    text = texts(1, n_labels, n_tokens, seed)
    loss = rnnt_loss(logits, text, torch.tensor([n_frames]), torch.tensor([n_labels]))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    own, labels = logits.detach()[0].numpy(), text[0].tolist()
    expected, slopes = reference_lattice.loss(reference_lattice.edges(own, labels))
    torch.testing.assert_close(loss.item(), expected, **CLOSE)
    exact = torch.tensor(reference_lattice.logit_gradient(own, labels, slopes))
    torch.testing.assert_close(gradient[0], exact, **CLOSE)


@given(st.integers(1, 12), st.integers(0, 9), st.integers(2, 20), st.integers(0, 9))
def test_the_loss_is_that_of_plain_torch(n_frames, n_labels, n_tokens, seed):
    logits = (3 * normal(2, n_frames, n_labels + 1, n_tokens, seed=seed)).requires_grad_()
    lengths = torch.tensor([n_frames, 1 + seed % n_frames])
    target_lengths = torch.tensor([seed % (n_labels + 1), n_labels])
    junk = texts(2, n_labels, n_tokens, seed).masked_fill(
        torch.arange(n_labels) >= target_lengths[:, None], -7
    )
    ours, plain = (made(logits, junk, lengths, target_lengths) for made in (rnnt_loss, rnnt_loss_by_rows))
    torch.testing.assert_close(ours, plain, **CLOSE)
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    gradients = [torch.autograd.grad((weights * made).sum(), logits)[0] for made in (ours, plain)]
    torch.testing.assert_close(*gradients, **CLOSE)


def test_gradients_are_those_of_differences():
    logits, *texts = batch()
    assert gradcheck(lambda x: rnnt_loss(x, *texts), logits)
    edges = edge_log_probs(logits, *texts)
    exists = edges.isfinite()
    assert gradcheck(lambda x: edge_log_probs(x, *texts)[exists], logits)
    filled = edges.detach().masked_fill(~exists, 0.0).requires_grad_()
    assert gradcheck(lambda e: transducer_loss(e, *texts[1:]), filled)


def test_what_is_outside_an_utterance_changes_nothing():
    logits, targets, *lengths = batch()
    loss = rnnt_loss(logits, targets, *lengths)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    filled = logits.detach().masked_fill(outside(logits)[..., None], torch.nan).requires_grad_()
    junk = targets.clone()
    for text, n in zip(junk, TARGET_LENGTHS, strict=True):
        text[n:] = torch.tensor([-1, 0, 7, 2**62])[: 4 - n]
    again = rnnt_loss(filled, junk, *lengths)
    (same,) = torch.autograd.grad(again.sum(), filled)
    assert torch.equal(loss, again)
    assert torch.equal(gradient, same)
    assert (same[outside(logits)] == 0).all()
    assert (same[~outside(logits)] != 0).any(-1).all()


def test_edges_that_do_not_exist_are_impossible_and_never_read():
    logits, targets, *lengths = batch()
    edges = edge_log_probs(logits, targets, *lengths)
    no_node = outside(logits)
    assert torch.equal(edges[..., 0] == -math.inf, no_node)
    no_label = no_node | (torch.arange(5) == TARGET_LENGTHS[:, None, None])
    assert torch.equal(edges[..., 1] == -math.inf, no_label)
    missing = torch.stack([no_node, no_label], -1)
    filled = edges.detach().masked_fill(missing, torch.nan).requires_grad_()
    losses, same = transducer_loss(edges, *lengths), transducer_loss(filled, *lengths)
    assert torch.equal(losses, same)
    (expected,) = torch.autograd.grad(losses.sum(), edges, retain_graph=True)
    (gradient,) = torch.autograd.grad(same.sum(), filled)
    assert torch.equal(gradient, expected)
    assert (gradient[missing] == 0).all()
    (unmoved,) = torch.autograd.grad(edges, logits, torch.zeros_like(edges).masked_fill(missing, torch.nan))
    assert not unmoved.any()


def test_a_batch_is_its_utterances():
    logits, targets, *lengths = batch(torch.float32)
    losses = rnnt_loss(logits, targets, *lengths)
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    for i, (t, u) in enumerate(zip(*lengths, strict=True)):
        alone = logits.detach()[i : i + 1, :t, : u + 1].contiguous().requires_grad_()
        loss = rnnt_loss(alone, targets[i : i + 1, :u], t[None], u[None])
        assert torch.equal(loss, losses[i : i + 1])
        assert torch.equal(torch.autograd.grad(loss.sum(), alone)[0], gradient[i : i + 1, :t, : u + 1])


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(threads):
    logits = 2 * normal(3, 40, 21, 65).float().requires_grad_()
    rest = (texts(3, 20, 65), torch.tensor([40, 33, 1]), torch.tensor([20, 7, 0]))

    def computed() -> tuple[torch.Tensor, ...]:
        losses = rnnt_loss(logits, *rest)
        return losses, *torch.autograd.grad(losses.sum(), logits)

    before, alone = torch.get_num_threads(), computed()
    try:
        torch.set_num_threads(threads)
        together = computed()
    finally:
        torch.set_num_threads(before)
    assert all(map(torch.equal, alone, together))


def test_an_empty_text_is_blanks():
    logits = normal(2, 5, 1, 4)
    loss = rnnt_loss(logits, torch.empty(2, 0, dtype=torch.int64), torch.tensor([5, 3]), torch.tensor([0, 0]))
    blanks = logits.log_softmax(-1)[:, :, 0, 0]
    torch.testing.assert_close(loss, -torch.stack([blanks[0].sum(), blanks[1, :3].sum()]), **CLOSE)


def test_an_empty_batch_has_no_losses():
    logits, targets, *lengths = (tensor[:0] for tensor in batch())
    loss = rnnt_loss(logits, targets, *lengths)
    assert loss.shape == (0,)
    assert torch.autograd.grad(loss.sum(), logits)[0].shape == logits.shape


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_have_exact_losses(dtype):
    """Logarithms do not count beside whole numbers: of the best alignment alone, every sum is exact."""
    logits = (1e4 * normal(1, 8, 5, 9)).round().to(dtype).requires_grad_()
    targets, lengths, target_lengths = texts(1, 4, 9), torch.tensor([8]), torch.tensor([4])
    loss = rnnt_loss(logits, targets, lengths, target_lengths)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    own, text = logits.detach()[0].double().numpy(), targets[0].tolist()
    expected, slopes = reference_lattice.loss(reference_lattice.edges(own, text))
    assert loss.item() == round(expected)
    exact = torch.tensor(reference_lattice.logit_gradient(own, text, slopes), dtype=dtype)
    torch.testing.assert_close(gradient[0], exact, rtol=0, atol=2.0**-22)


@pytest.mark.parametrize(("value", "loss"), [(math.nan, "nan"), (math.inf, "nan"), (-math.inf, "inf")])
def test_a_loss_that_is_not_finite_says_so_of_its_utterance(value, loss):
    logits, targets, *lengths = batch()
    changed = logits.detach().clone()
    changed[2, :, 1, targets[2, 1]] = value  # without this label, the text cannot be written
    changed.requires_grad_()
    losses = rnnt_loss(changed, targets, *lengths)
    assert [str(abs(x)) for x in losses.tolist() if not math.isfinite(x)] == [loss]
    assert not losses[2].isfinite()
    (gradient,) = torch.autograd.grad(losses.sum(), changed)
    assert gradient[2].isnan().any()
    assert gradient[[0, 1, 3]].isfinite().all()


def test_memory_is_that_of_one_gradient():
    logits = normal(2, 50, 11, 200).float().requires_grad_()
    rest = (texts(2, 10, 200), torch.tensor([50, 40]), torch.tensor([10, 5]))
    with profile(profile_memory=True) as seen:
        torch.autograd.grad(rnnt_loss(logits, *rest).sum(), logits)
    allocated = sum(max(event.self_cpu_memory_usage, 0) for event in seen.events())
    edges = logits.nbytes * 2 / 200
    assert logits.nbytes < allocated < logits.nbytes + 6 * edges


def test_logits_may_lie_in_any_order():
    logits, targets, *lengths = batch()
    turned = logits.detach().permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0).requires_grad_()
    assert not turned.is_contiguous()
    losses, again = (
        rnnt_loss(logits, targets, *lengths),
        rnnt_loss(turned, targets.T.contiguous().T, *lengths),
    )
    assert torch.equal(losses, again)
    gradients = [torch.autograd.grad(x.sum(), y)[0] for x, y in ((losses, logits), (again, turned))]
    assert torch.equal(*gradients)


def test_gradients_of_gradients_are_refused():
    logits, *rest = batch()
    for made in (rnnt_loss(logits, *rest), edge_log_probs(logits, *rest)[0, 0, 0]):
        (gradient,) = torch.autograd.grad(made.square().sum(), logits, create_graph=True)
        with pytest.raises(RuntimeError, match="once_differentiable"):
            gradient.sum().backward()


def changed(position: int, tensor: torch.Tensor) -> list[torch.Tensor]:
    given = list(batch())
    given[position] = tensor
    return given


def with_value(position: int, index: tuple[int, ...], value: int) -> list[torch.Tensor]:
    tensor = batch()[position].clone()
    tensor[index] = value
    return changed(position, tensor)


INTEGER = torch.int64
REFUSED = {
    "blank": (with_value(1, (2, 3), 0), "`targets` of utterance 2 holds 0 in place 3: labels are 1 to 6"),
    "negative": (with_value(1, (0, 0), -1), "`targets` of utterance 0 holds -1 in place 0"),
    "too large": (with_value(1, (0, 2), 7), "`targets` of utterance 0 holds 7 in place 2"),
    "no frames": (with_value(2, (1,), 0), "`lengths` of utterance 1 is 0: its frames must be 1 to 6"),
    "fewer": (with_value(2, (1,), -3), "`lengths` of utterance 1 is -3"),
    "too many": (with_value(2, (3,), 7), "`lengths` of utterance 3 is 7"),
    "long text": (with_value(3, (0,), 5), "`target_lengths` of utterance 0 is 5: its labels must be 0 to 4"),
    "text of -1": (with_value(3, (0,), -1), "`target_lengths` of utterance 0 is -1"),
    "planes": (changed(0, torch.zeros(4, 6, 5)), r"`logits` are \(batch, T, U \+ 1, V\); got \(4, 6, 5\)"),
    "no nodes": (changed(0, torch.zeros(4, 6, 0, 7)), r"got \(4, 6, 0, 7\)"),
    "no tokens": (changed(0, torch.zeros(4, 6, 5, 0)), r"got \(4, 6, 5, 0\)"),
    "short": (changed(1, torch.ones(4, 3, dtype=INTEGER)), r"`targets` is \(4, 3\): .* must be \(4, 4\)"),
    "fewer lengths": (changed(2, LENGTHS[:3]), r"`lengths` is \(3,\): .* must be \(4,\)"),
    "more texts": (changed(3, TARGET_LENGTHS[:, None]), r"`target_lengths` is \(4, 1\): .* must be \(4,\)"),
    "elsewhere": (changed(0, torch.zeros(4, 6, 5, 7, device="meta")), "move `logits` there from meta"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_batch_of_lattices_is_refused(case):
    given, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        rnnt_loss(*given)


def test_other_types_are_refused():
    for position, name in enumerate(("logits", "targets", "lengths", "target_lengths")):
        dtype = torch.bfloat16 if position == 0 else torch.int32
        with pytest.raises(TypeError, match=rf"`{name}` is {dtype}: it must be torch\.\w+64|float32 or"):
            rnnt_loss(*changed(position, batch()[position].detach().to(dtype)))


def test_a_loss_of_other_edges_is_refused():
    edges = torch.zeros(4, 6, 5, 2)
    with pytest.raises(ValueError, match=r"`edges` are \(batch, T, U \+ 1, 2\); got \(4, 6, 5, 3\)"):
        transducer_loss(torch.zeros(4, 6, 5, 3), LENGTHS, TARGET_LENGTHS)
    with pytest.raises(TypeError, match=r"`edges` is torch\.float16: it must be"):
        transducer_loss(edges.half(), LENGTHS, TARGET_LENGTHS)
    with pytest.raises(ValueError, match=r"`lengths` is \(3,\)"):
        transducer_loss(edges, LENGTHS[:3], TARGET_LENGTHS)
    with pytest.raises(ValueError, match="`lengths` of utterance 0 is 6: its frames must be 1 to 5"):
        transducer_loss(edges[:, :5], LENGTHS, TARGET_LENGTHS)
