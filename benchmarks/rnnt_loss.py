"""The loss of a transducer, forward and backward, against the same in PyTorch.

    python benchmarks/rnnt_loss.py --json

Eight utterances of 150 frames and 40 labels, one thread, 64, 256 and 500 tokens. The rivals are log-softmax,
one gather and a scan under autograd: over frames, with the cumulative sum of a row
(`sparrot.nn.rnnt_loss_by_rows`), or over diagonals; the faster of them is the one to beat. Contestants take
turns, and the least of their times counts, in CPU seconds of this process, so that other programs on the
machine count little. The process keeps freed memory, as `sparrot train` does.

`rnnt_loss.memory` is how far the peak of a fresh process, which keeps no memory, rises above what it has with
the logits, in tensors of their size. Losses and gradients are compared with float64 before anything is timed.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from sparrot.nn import edge_log_probs, lattice_divergence, rnnt_loss, rnnt_loss_by_rows, transducer_loss
from sparrot.nn.transducer_reference import edges_in_torch
from sparrot.report.results import UNEXPLAINED, Goal, Result, benchmark_options
from sparrot.train.environment import prepare_process

Lattices: TypeAlias = tuple[Tensor, Tensor, Tensor]  # targets, lengths and their lengths
Loss: TypeAlias = Callable[..., Tensor]

N_UTTERANCES, N_FRAMES, N_LABELS = 8, 150, 40
FASTER = {64: 2.0, 256: 1.8, 500: 2.0}  # tokens: how many times, at least
MEMORY = 1.05  # tensors of the size of the logits, at most
NEVER = -1e30  # a log-probability; −∞ less −∞ would be NaN


def main() -> None:
    """Measures, then prints one JSON object or one line a figure."""
    given, why = benchmark_options(__doc__ or "", rounds=20)
    prepare_process()
    torch.set_num_threads(1)
    found = {n_tokens: measured(n_tokens, given.rounds) for n_tokens in FASTER}
    times = {n_tokens: seconds for n_tokens, (seconds, _) in found.items()}
    wrong = {n_tokens: errors for n_tokens, (_, errors) in found.items()}
    peaks = {
        (name, n_tokens): peak_apart(name, n_tokens) for n_tokens in FASTER for name in ("sparrot", ROWS)
    }
    rows = [*rows_of_times(times), *rows_of_errors(wrong), *rows_of_peaks(peaks)]
    command = f"python benchmarks/rnnt_loss.py --rounds {given.rounds}"
    result = Result(command, [0], rows, list(goals(times, peaks, why)))
    if given.json:
        print(json.dumps(result.to_json(), indent=1, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['method']:24} {row['set']:12} {row['metric']:20} {row['value']:.4g} {row['unit']}")
    for goal in result.goals:
        print(f"{goal.name}: {goal.measured:.3g}, required {goal.required:.3g}")


def by_diagonals(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """The loss with a scan over diagonals, t + u = d, whose nodes need only those of the diagonal before."""
    blank, label = edges_in_torch(logits, targets, target_lengths)
    down, across = slanted(blank), slanted(label)
    alpha = torch.full_like(down[0], NEVER)
    alpha[:, 0] = 0.0
    diagonals = [alpha]
    for blanks, labels in zip(down[:-1], across[:-1], strict=True):
        moved = functional.pad((diagonals[-1] + labels)[:, :-1], (1, 0), value=NEVER)
        diagonals.append(torch.logaddexp(diagonals[-1] + blanks, moved))
    ends = torch.stack(diagonals) + torch.stack(down)
    return -ends[lengths - 1 + target_lengths, torch.arange(len(logits)), target_lengths]


def slanted(nodes: Tensor) -> tuple[Tensor, ...]:
    """The diagonals of (batch, frames, width): frames + width − 1 of (batch, width), by u."""
    n, n_frames, width = nodes.shape
    longer = functional.pad(nodes.transpose(1, 2), (0, width), value=NEVER).flatten(1)
    turned = longer[:, : width * (n_frames + width - 1)].view(n, width, -1)
    return turned.permute(2, 0, 1).contiguous().unbind(0)


def with_a_teacher(logits: Tensor, targets: Tensor, lengths: Tensor, target_lengths: Tensor) -> Tensor:
    """The loss and the divergence from a teacher, whose edges are ready."""
    edges = edge_log_probs(logits, targets, lengths, target_lengths)
    teacher = edges.detach().roll(1, 0)
    divergence = lattice_divergence(edges, teacher, lengths, target_lengths)
    return transducer_loss(edges, lengths, target_lengths) + divergence


ROWS, DIAGONALS = "PyTorch, rows", "PyTorch, diagonals"
CONTESTANTS: dict[str, Loss] = {
    "sparrot": rnnt_loss,
    "sparrot, with a teacher": with_a_teacher,
    ROWS: rnnt_loss_by_rows,
    DIAGONALS: by_diagonals,
}


def batch(n_tokens: int) -> tuple[Tensor, Lattices]:
    """Random logits, and texts of the full length."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N_UTTERANCES, N_FRAMES, N_LABELS + 1, n_tokens, generator=generator)
    targets = torch.randint(1, n_tokens, (N_UTTERANCES, N_LABELS), generator=generator)
    full = torch.full((N_UTTERANCES,), N_FRAMES), torch.full((N_UTTERANCES,), N_LABELS)
    return logits.requires_grad_(), (targets, *full)


def losses_and_gradient(loss: Loss, logits: Tensor, lattices: Lattices) -> tuple[Tensor, Tensor]:
    """Of the sum of all losses."""
    losses = loss(logits, *lattices)
    return losses.detach(), torch.autograd.grad(losses.sum(), logits)[0]


def errors(logits: Tensor, lattices: Lattices) -> dict[str, float]:
    """The largest error of a slope, by contestant; stops the benchmark where one is too large."""
    wide = logits.detach().double().requires_grad_()
    exact_losses, exact_gradient = losses_and_gradient(rnnt_loss_by_rows, wide, lattices)
    found = {}
    for name in ("sparrot", ROWS, DIAGONALS):
        losses, gradient = losses_and_gradient(CONTESTANTS[name], logits, lattices)
        found[name] = float((gradient - exact_gradient).abs().max())
        if found[name] > 1e-3 or float((losses / exact_losses - 1).abs().max()) > 1e-5:
            raise SystemExit(f"{name} is wrong by up to {found[name]:.2g} in a slope; nothing was timed")
    return found


def measured(n_tokens: int, n_rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """CPU seconds of every contestant in every round, and their `errors`."""
    tell(f"{n_tokens} tokens")
    logits, lattices = batch(n_tokens)
    wrong = errors(logits, lattices)
    seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(n_rounds):
        for name, loss in CONTESTANTS.items():
            begin = time.process_time()
            losses_and_gradient(loss, logits, lattices)
            seconds[name].append(time.process_time() - begin)
    return seconds, wrong


def peak_apart(name: str, n_tokens: int) -> float:
    """`peak` of a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(peak, name, n_tokens).result()


def peak(name: str, n_tokens: int) -> float:
    """Most memory that a loss and its gradient take beside the logits, in tensors of their size."""
    logits, lattices = batch(n_tokens)
    small = logits.detach()[:, :2, :2].contiguous().requires_grad_()
    shorter = (lattices[0][:, :1].contiguous(), lattices[1].clamp_max(2), lattices[2].clamp_max(1))
    losses_and_gradient(CONTESTANTS[name], small, shorter)  # what is loaded at first use does not count
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = memory("VmRSS")
    losses_and_gradient(CONTESTANTS[name], logits, lattices)
    return (memory("VmHWM") - before) / logits.nbytes


def memory(field: str) -> int:
    """Bytes of this process: those it has, `VmRSS`, or their peak, `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def goals(
    times: Mapping[int, Mapping[str, list[float]]],
    peaks: Mapping[tuple[str, int], float],
    why: Mapping[str, str],
) -> Iterator[Goal]:
    """How many times faster than the faster rival, and the memory where tokens are many."""
    for n_tokens, required in FASTER.items():
        least = {name: min(seconds) for name, seconds in times[n_tokens].items()}
        name, ratio = f"rnnt_loss.v{n_tokens}", min(least[ROWS], least[DIAGONALS]) / least["sparrot"]
        yield Goal(name, required, ratio, "higher", "", why.get(name, UNEXPLAINED))
    name = "rnnt_loss.memory"
    yield Goal(name, MEMORY, peaks["sparrot", max(FASTER)], "lower", "", why.get(name, UNEXPLAINED))


def rows_of_times(times: Mapping[int, Mapping[str, list[float]]]) -> Iterator[dict[str, Any]]:
    """The least and the median of every contestant."""
    for n_tokens, contestants in times.items():
        for name, seconds in contestants.items():
            described = {"method": name, "set": f"{n_tokens} tokens", "level": "", "unit": "ms"}
            yield {**described, "metric": "ms", "value": 1e3 * min(seconds)}
            yield {**described, "metric": "ms, median", "value": 1e3 * median(seconds)}


def rows_of_errors(wrong: Mapping[int, Mapping[str, float]]) -> Iterator[dict[str, Any]]:
    """Of every contestant that was compared with float64."""
    for n_tokens, contestants in wrong.items():
        for name, value in contestants.items():
            described = {"method": name, "set": f"{n_tokens} tokens", "level": "", "unit": ""}
            yield {**described, "metric": "error of a slope", "value": value}


def rows_of_peaks(peaks: Mapping[tuple[str, int], float]) -> Iterator[dict[str, Any]]:
    """Of every contestant that was measured."""
    for (name, n_tokens), value in peaks.items():
        described = {"method": name, "set": f"{n_tokens} tokens", "level": ""}
        yield {**described, "metric": "memory / logits", "value": value, "unit": ""}


def tell(what: str) -> None:
    """Prints what is going on."""
    print(what, file=sys.stderr)


if __name__ == "__main__":
    main()
