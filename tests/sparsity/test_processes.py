"""Two processes that each see half of the data rank blocks like one process that sees it all."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from sparrot.sparsity import (
    AtOnce,
    BlockShape,
    CubicSchedule,
    DynamicOptions,
    DynamicSparsity,
    ExactPruning,
    Levels,
    Pruning,
)

N_STEPS = 6
SHARES = [1.0, -3.0]


def sparsity() -> DynamicSparsity:
    torch.manual_seed(0)
    return DynamicSparsity(
        nn.Sequential(nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 6)),
        Levels(large={}, medium={"fc": 0.5}, small={"fc": 0.8}),
        block=BlockShape(2, 1),
        schedule=CubicSchedule(0, N_STEPS),
        options=DynamicOptions(mask_every=1),
    )


def halves(step: int) -> tuple[Tensor, Tensor]:
    first, second = torch.randn(2, 4, 12, generator=torch.Generator().manual_seed(step))
    return first, 3 * second  # so unlike that a process by itself would rank otherwise


def masks_after_training(of: DynamicSparsity, shares: list[int]) -> dict[str, dict[str, Tensor]]:
    """Masks after some steps on fixed weights; a process sees its `shares` of every batch."""
    for step in range(N_STEPS):
        with of.at("large"):
            for share in shares:
                of.model(halves(step)[share]).square().sum().backward()
        of.step()
    return of.state_dict()["keep"]


def equal(one: dict[str, dict[str, Tensor]], other: dict[str, dict[str, Tensor]]) -> bool:
    return all(torch.equal(one[level][name], other[level][name]) for level in one for name in one[level])


def kept_by_pruning(shares: list[float]) -> dict[str, Tensor]:
    """Masks of weights that are the mean of `shares` of a noise, which rounding stands for."""
    torch.manual_seed(0)
    model = nn.Linear(12, 8)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        model.weight.round_(decimals=1)  # so that many are alike, and the noise decides
        model.weight += sum(shares) / len(shares) * 1e-3 * torch.randn(8, 12, generator=generator)
    of = Pruning(model, ExactPruning({"fc": 0.5}, AtOnce(1)), block=BlockShape(1, 1))
    of.step()
    return of.state_dict()["keep"]


def run_process(rank: int, folder: Path) -> None:
    store = dist.FileStore(str(folder / "store"), 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.save(masks_after_training(sparsity(), [rank]), folder / f"{rank}.pt")
    torch.save(kept_by_pruning([SHARES[rank]]), folder / f"pruning{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_rank_like_one_that_sees_all_data(tmp_path: Path):
    processes = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    together = masks_after_training(sparsity(), [0, 1])
    assert equal(one, together)
    assert equal(other, together)
    assert not equal(masks_after_training(sparsity(), [0]), together)
    pruned = [torch.load(tmp_path / f"pruning{rank}.pt", weights_only=True) for rank in range(2)]
    expected = kept_by_pruning(SHARES)
    assert [torch.equal(one["weight"], expected["weight"]) for one in pruned] == [True, True]
    assert not torch.equal(kept_by_pruning(SHARES[:1])["weight"], expected["weight"])


def test_every_score_is_summed_once_a_renewal_before_ranking(monkeypatch: pytest.MonkeyPatch):
    # The other process, played by hand: it has the opposite opinion, and twice the voice.
    calls: list[Tensor] = []

    def add_the_others(score: Tensor) -> None:
        calls.append(score)
        score += 2 * score.flip(1)

    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", add_the_others)
    layer = nn.Linear(4, 1, bias=False)
    nn.init.ones_(layer.weight)
    of = DynamicSparsity(
        layer,
        Levels(large={}, medium={"fc": 0.25}, small={"fc": 0.5}),
        block=BlockShape(1, 1),
        schedule=CubicSchedule(0, 1),
        options=DynamicOptions(mask_every=1),
    )
    with of.at("large"):
        torch.autograd.backward([layer.weight], [torch.tensor([[1.0, 2.0, 3.0, 4.0]])])
    of.step()
    assert of.masks("small")["weight"].keep.tolist() == [[True, True, False, False]]
    assert of.state_dict()["scores"]["average"]["large"]["weight"].tolist() == [
        [1.0, 2.0, 3.0, 4.0]
    ]  # its own
    assert len(calls) == 1


def test_a_score_of_another_process_that_is_not_finite_stops_them_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "all_reduce", lambda score: score.fill_(torch.nan))
    of = sparsity()
    with of.at("large"):
        of.model(halves(0)[0]).sum().backward()
    with pytest.raises(ValueError, match="are not finite"):
        of.step()


if __name__ == "__main__":
    run_process(int(sys.argv[1]), Path(sys.argv[2]))
