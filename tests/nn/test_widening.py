"""A widened network computes what the narrow one did, and its copies can be told apart."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sparrot.architecture import AnyArchitecture, Transducer
from sparrot.nn import CtcNetwork, Encoder, Front, Predictor, TransducerNetwork, build_architecture
from sparrot.nn.network import Network
from sparrot.nn.widening import NOISE, SHARE, can_widen, widened

N_TOKENS, WIDTH = 7, 4
LENGTHS = torch.tensor([17, 9, 1])
STACK = Front("stack", frames=2, stride=2)
CONVOLUTION = Front("convolution", frames=3, stride=2, channels=5)
ENCODERS = {
    "lstm": Encoder(layers=2, cells=6, layer_norm=True, reduce_after=1),
    "gru, two directions": Encoder("gru", layers=2, cells=6, bidirectional=True, reduce_after=2),
    "rnn, fully connected": Encoder("rnn", layers=1, cells=6, input_fc=(5,), fc=(3, 4)),
}


def times(encoder: Encoder, copies: int) -> Encoder:
    """The encoder with every layer `copies` times as wide."""
    sizes = {name: tuple(copies * size for size in getattr(encoder, name)) for name in ("input_fc", "fc")}
    return replace(encoder, cells=copies * encoder.cells, **sizes)


def made(architecture: AnyArchitecture) -> Network:
    torch.manual_seed(1)
    if isinstance(architecture, Transducer):
        return TransducerNetwork(architecture, ctc=True).double().eval()
    return CtcNetwork(architecture).double().eval()


def widen(narrow: Network, wide: Network, noise: float = 0.0) -> None:
    """Gives the wide network the widened state of the narrow one."""
    random = torch.Generator().manual_seed(2)
    state = widened(narrow.state_dict(), narrow.architecture, wide.architecture, random, noise)
    wide.load_state_dict(state)


def heard(network: Network) -> Tensor:
    """Its output, of a transducer for some texts."""
    frames = torch.randn(3, 17, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    if isinstance(network, CtcNetwork):
        return network(frames, LENGTHS)[0]
    texts = torch.randint(1, N_TOKENS, (3, 4), generator=torch.Generator().manual_seed(4))
    return network(frames, LENGTHS, texts, torch.tensor([4, 0, 2]))[0]


@pytest.mark.parametrize("copies", [2, 3])
@pytest.mark.parametrize("front", [STACK, CONVOLUTION], ids=["stack", "convolution"])
@pytest.mark.parametrize("encoder", ENCODERS.values(), ids=ENCODERS)
def test_a_wider_recogniser_computes_the_same(front, encoder, copies):
    narrow, wide = (
        made(build_architecture(WIDTH, front, one, N_TOKENS)) for one in (encoder, times(encoder, copies))
    )
    widen(narrow, wide)
    torch.testing.assert_close(heard(wide), heard(narrow), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "predictor",
    [
        Predictor(embedding=3, layers=2, cells=5, layer_norm=True, joint=6),
        Predictor("stateless", embedding=3, context=3, joint=6),
    ],
    ids=["lstm", "stateless"],
)
@pytest.mark.parametrize("embedding", [3, 6])
def test_a_wider_transducer_computes_the_same(predictor, embedding):
    encoder = ENCODERS["lstm"]
    cells = {} if predictor.kind == "stateless" else {"cells": 10}
    wider = replace(predictor, embedding=embedding, joint=12, **cells)
    narrow, wide = (
        made(build_architecture(WIDTH, STACK, *sides))
        for sides in ((encoder, N_TOKENS, predictor), (times(encoder, 2), N_TOKENS, wider))
    )
    widen(narrow, wide)
    torch.testing.assert_close(heard(wide), heard(narrow), rtol=1e-9, atol=1e-9)
    assert isinstance(narrow, TransducerNetwork) and isinstance(wide, TransducerNetwork)
    assert narrow.ctc is not None and wide.ctc is not None
    torch.testing.assert_close(wide.ctc.bias, narrow.ctc.bias, rtol=0, atol=0)


def test_copies_are_small_in_what_they_feed_and_noisy_in_what_feeds_them():
    encoder = replace(ENCODERS["rnn, fully connected"], cells=60, input_fc=())
    narrow, wide = (
        made(build_architecture(WIDTH, STACK, one, N_TOKENS)) for one in (encoder, times(encoder, 2))
    )
    widen(narrow, wide, NOISE)
    before, after = (network.state_dict() for network in (narrow, wide))
    fed, name = before["layers.rnn0.ahead.weight_hh_l0"], "layers.rnn0.ahead.weight_hh_l0"
    first, second = after[name].chunk(2)
    torch.testing.assert_close(first[:, :60], (1 - SHARE) * fed)
    torch.testing.assert_close(first[:, 60:], SHARE * fed)
    noise = second[:, :60] / (1 - SHARE) - fed
    root_mean_square = noise.square().mean().sqrt() / fed.square().mean().sqrt()
    assert root_mean_square.item() == pytest.approx(NOISE, rel=0.1)  # of 3600 draws: its error is 1 / √7200
    torch.testing.assert_close(second[:, 60:] * (1 - SHARE) / SHARE, second[:, :60])


def test_the_noise_is_drawn_from_the_generator():
    encoder = ENCODERS["lstm"]
    narrow, wide = (build_architecture(WIDTH, STACK, one, N_TOKENS) for one in (encoder, times(encoder, 2)))
    state = made(narrow).state_dict()
    first, again, other = (
        widened(state, narrow, wide, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    name = "layers.lstm0.ahead.weight_ih_l0"
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (ENCODERS["lstm"], replace(ENCODERS["lstm"], cells=9)),
        (ENCODERS["lstm"], replace(ENCODERS["lstm"], cells=12, layers=3)),
        (ENCODERS["lstm"], replace(ENCODERS["lstm"], cells=12, cell="gru")),
        (ENCODERS["lstm"], replace(ENCODERS["lstm"], cells=12, reduce_after=2)),
        (ENCODERS["lstm"], replace(ENCODERS["lstm"], cells=3)),
        (Encoder(cells=6, projection=2), Encoder(cells=12, projection=2)),
        (Encoder(cells=6, projection=2, input_fc=(4,)), Encoder(cells=6, projection=2, input_fc=(8,))),
        (Encoder(cells=6, batch_norm=True), Encoder(cells=12, batch_norm=True)),
        (
            Encoder("rnn", cells=6, bidirectional=True, summed=True),
            Encoder("rnn", cells=12, bidirectional=True, summed=True),
        ),
    ],
)
def test_what_cannot_be_widened_is_refused(narrow, wide):
    before, after = (build_architecture(WIDTH, STACK, one, N_TOKENS) for one in (narrow, wide))
    assert not can_widen(before, after)
    with pytest.raises(ValueError, match="whole times as wide"):
        widened(made(before).state_dict(), before, after, torch.Generator())


def test_another_kind_or_other_tokens_cannot_be_widened_into():
    encoder, predictor = ENCODERS["lstm"], Predictor(embedding=3, cells=5, joint=6)
    ctc = build_architecture(WIDTH, STACK, encoder, N_TOKENS)
    assert not can_widen(ctc, build_architecture(WIDTH, STACK, times(encoder, 2), N_TOKENS + 1))
    assert not can_widen(ctc, build_architecture(WIDTH + 1, STACK, times(encoder, 2), N_TOKENS))
    assert not can_widen(ctc, build_architecture(WIDTH, STACK, encoder, N_TOKENS, predictor))
    uneven = replace(predictor, cells=12, joint=6)
    transducer = build_architecture(WIDTH, STACK, encoder, N_TOKENS, replace(predictor, cells=6))
    assert not can_widen(transducer, build_architecture(WIDTH, STACK, encoder, N_TOKENS, uneven))
