"""Weights that change inside the utterances, against a network that computes frame by frame."""

import math

import pytest
import torch
from torch import Tensor, nn

from sparrot.nn import CtcNetwork, Encoder, Front, Predictor, TransducerNetwork, build_architecture
from sparrot.nn.switching import Switching
from sparrot.sparsity import BlockShape, CubicSchedule, DynamicOptions, DynamicSparsity, Levels, Magnitude

FRAMES = 23
PLAN = ((0.1, "large"), (0.15, "small"), (0.16, "medium"), (0.6, "large"), (0.62, "small"), (1.0, "medium"))
FRONT = Front(kind="stack", frames=3, stride=2)
CELLS = {
    "lstm": {"cell": "lstm"},
    "projected": {"cell": "lstm", "projection": 5},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
}


def sparse(network: nn.Module) -> DynamicSparsity:
    levels = Levels(large={}, medium={"fc": 0.4, network.kind: 0.4}, small={"fc": 0.7, network.kind: 0.7})
    options = DynamicOptions(criterion=Magnitude(), mask_every=1)
    made = DynamicSparsity(
        network, levels, block=BlockShape(2, 1), schedule=CubicSchedule(0, 1), options=options
    )
    made.step()
    return made


def switching(sparsity: DynamicSparsity, plan=PLAN) -> Switching:
    ends, levels = zip(*plan, strict=True)
    return Switching(ends, levels, {level: sparsity.masked(level) for level in levels})


def level_at(frame: int, n_frames: int) -> str:
    """A level ends before the first frame that is at or behind its end."""
    return next(level for share, level in PLAN if frame < share * n_frames)


@pytest.fixture(params=list(CELLS))
def ctc(request) -> CtcNetwork:
    torch.manual_seed(3)
    encoder = Encoder(layers=2, cells=6, fc=(5,), layer_norm=True, reduce_after=1, **CELLS[request.param])
    network = CtcNetwork(build_architecture(4, FRONT, encoder, 7)).double()
    network.kind = CELLS[request.param]["cell"]
    return network


def by_frames(network: CtcNetwork, sparsity: DynamicSparsity, frames: Tensor) -> Tensor:
    """Every frame of every layer at its own level; recurrent layers one frame after another."""
    lengths = torch.full((len(frames),), frames.shape[1])
    for name, module in network.layers.items():
        recurrent = hasattr(module, "ahead")
        n = frames.shape[1] if recurrent else module(frames, lengths)[0].shape[1]
        rows, state = [], None
        for j in range(n):
            own = {
                parameter.removeprefix(f"layers.{name}."): mask
                for parameter, mask in sparsity.masks(level_at(j, n)).items()
            }
            kept = {parameter: value.detach().clone() for parameter, value in module.named_parameters()}
            with torch.no_grad():
                for parameter, value in module.named_parameters():
                    value.copy_(own[parameter].apply(value) if parameter in own else value)
                if recurrent:
                    row, state = module.ahead(frames[:, j : j + 1], state)
                else:
                    row = module(frames, lengths)[0][:, j : j + 1]
                rows.append(row)
                for parameter, value in module.named_parameters():
                    value.copy_(kept[parameter])
        lengths = module(frames, lengths)[1]
        frames = torch.cat(rows, dim=1)
    return frames


def test_every_frame_is_computed_at_its_level(ctc):
    sparsity, frames = sparse(ctc), torch.randn(2, FRAMES, 4, dtype=torch.float64)
    lengths = torch.tensor([FRAMES, FRAMES])
    found, n = ctc(frames, lengths, switching(sparsity))
    assert n.tolist() == [6, 6]  # 23 frames by two strides of two
    torch.testing.assert_close(found, by_frames(ctc, sparsity, frames), rtol=1e-12, atol=1e-12)
    assert (found - ctc(frames, lengths)[0]).abs().max() > 1e-3


def test_gradients_are_those_of_differences(ctc):
    sparsity, frames = sparse(ctc), torch.randn(1, FRAMES, 4, dtype=torch.float64)
    lengths, mix = torch.tensor([FRAMES]), torch.randn(1, 6, 7, dtype=torch.float64)

    def loss() -> Tensor:
        return (ctc(frames, lengths, switching(sparsity))[0] * mix).sum()

    ctc.zero_grad()
    loss().backward()
    for name, parameter in ctc.named_parameters():
        direction, step = torch.randn_like(parameter), 1e-5
        with torch.no_grad():
            parameter.add_(direction, alpha=step)
            above = loss()
            parameter.add_(direction, alpha=-2 * step)
            slope = (above - loss()) / (2 * step)
            parameter.add_(direction, alpha=step)
        assert float((parameter.grad * direction).sum()) == pytest.approx(float(slope), rel=1e-6, abs=1e-8), (
            name
        )


def test_one_level_throughout_is_that_level(ctc):
    sparsity, frames = sparse(ctc), torch.randn(2, FRAMES, 4, dtype=torch.float64)
    lengths = torch.tensor([FRAMES, 11])
    for level in sparsity.levels:
        found = ctc(frames, lengths, switching(sparsity, ((0.3, level), (1.0, level))))[0]
        with sparsity.at(level):
            torch.testing.assert_close(found, ctc(frames, lengths)[0], rtol=1e-12, atol=1e-12)


def test_a_transducers_predictor_and_joint_network_switch_too():
    torch.manual_seed(4)
    predictor = Predictor(kind="lstm", embedding=4, layers=1, cells=6, joint=6)
    architecture = build_architecture(4, FRONT, Encoder(layers=1, cells=6), 7, predictor)
    network = TransducerNetwork(architecture).double()
    network.kind = "lstm"
    sparsity = sparse(network)
    frames, lengths = torch.randn(1, FRAMES, 4, dtype=torch.float64), torch.tensor([FRAMES])
    targets, target_lengths = torch.randint(1, 7, (1, 5)), torch.tensor([5])
    plan = switching(sparsity)
    encoded = network.encode(frames, lengths, plan)[0]
    predicted = network.predict(targets, target_lengths, plan)
    logits = network.join(encoded, predicted, plan)
    torch.testing.assert_close(
        encoded, by_frames(network.encoder, Part(sparsity, "encoder."), frames), rtol=1e-12, atol=1e-12
    )
    begun = torch.cat([torch.zeros(1, 1), targets], dim=1)[:, :, None].double()
    expected = by_frames(network.predictor, Part(sparsity, "predictor."), begun)
    torch.testing.assert_close(predicted, expected, rtol=1e-12, atol=1e-12)
    for t in range(encoded.shape[1]):
        with sparsity.at(level_at(t, encoded.shape[1])):
            own = network.join(encoded[:, t : t + 1], predicted)
        torch.testing.assert_close(logits[:, t : t + 1], own, rtol=1e-12, atol=1e-12)


class Part:
    """The masks of a part of a network, by its own names."""

    def __init__(self, sparsity: DynamicSparsity, start: str) -> None:
        self.sparsity, self.start = sparsity, start

    def masks(self, level: str) -> dict:
        return {name.removeprefix(self.start): mask for name, mask in self.sparsity.masks(level).items()}


@pytest.mark.parametrize(
    ("ends", "levels"),
    [
        ((), ()),
        ((0.5,), ("a",)),
        ((0.5, 0.5, 1.0), "aba"),
        ((0.0, 1.0), "ab"),
        ((1.0,), "ab"),
        ((math.nan, 1.0), "ab"),
    ],
)
def test_ends_that_do_not_rise_to_one_are_refused(ends, levels):
    with pytest.raises(ValueError, match="levels end at rising shares of an utterance, the last at 1"):
        Switching(ends, levels, {})
