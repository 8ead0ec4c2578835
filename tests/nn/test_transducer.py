"""The transducer's network: a batch against each utterance alone, and what it takes up and gives away."""

import numpy as np
import pytest
import torch
from torch import Tensor

from reference_transducer import ExactNetwork
from sparrot.architecture import Architecture, Transducer
from sparrot.nn import CtcNetwork, Encoder, Front, Predictor, TransducerNetwork, build_architecture
from sparrot.nn.transducer import greedy_transcripts

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections")

FRONT, ENCODER = (
    Front("stack", frames=2, stride=2),
    Encoder(layers=2, cells=6, layer_norm=True, reduce_after=1),
)
PREDICTORS = [
    Predictor(embedding=3, cells=5, joint=6),
    Predictor(embedding=3, layers=2, cells=7, projection=4, layer_norm=True, joint=6),
    Predictor("stateless", embedding=3, context=3, joint=5),
]
LENGTHS, TARGET_LENGTHS = torch.tensor([17, 9, 1]), torch.tensor([4, 0, 2])


def architecture(predictor: Predictor) -> Transducer:
    made = build_architecture(4, FRONT, ENCODER, 7, predictor)
    assert isinstance(made, Transducer)
    return made


def network(predictor: Predictor = PREDICTORS[0], *, ctc: bool = False) -> TransducerNetwork:
    torch.manual_seed(1)
    return TransducerNetwork(architecture(predictor), ctc=ctc).double().eval()


def speech() -> Tensor:
    return torch.randn(3, 17, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def text() -> Tensor:
    return torch.randint(1, 7, (3, 4), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_batch_gives_what_each_utterance_gives_alone(predictor):
    module, frames, targets = network(predictor), speech(), text()
    logits, lengths = module(frames, LENGTHS, targets, TARGET_LENGTHS)
    assert logits.shape == (3, 5, 5, 7)
    assert lengths.tolist() == [5, 3, 1]
    for i in range(3):
        n_frames, n_tokens = LENGTHS[i : i + 1], TARGET_LENGTHS[i : i + 1]
        alone, _ = module(frames[i : i + 1, :n_frames], n_frames, targets[i : i + 1, :n_tokens], n_tokens)
        torch.testing.assert_close(
            logits[i : i + 1, : lengths[i], : n_tokens + 1], alone, rtol=1e-9, atol=1e-11
        )


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_node_has_seen_the_tokens_before_it_and_no_other(predictor):
    module, targets = network(predictor), text()
    predicted = module.predict(targets, torch.tensor([4, 4, 4]))
    others = targets.clone()
    others[:, 2] = others[:, 2] % 6 + 1
    changed = (module.predict(others, torch.tensor([4, 4, 4])) != predicted).any(dim=2)
    assert changed.tolist() == [[False, False, False, True, True]] * 3


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_predictor_and_joint_are_those_that_the_engine_is_held_to(predictor):
    module, targets = network(predictor), text()[0]
    weights = {name: value.detach().numpy() for name, value in module.exported()}
    exact = ExactNetwork(module.architecture, [weights])
    encoded, lengths = module.encoder(speech()[:1], LENGTHS[:1])
    logits = module.join(encoded, module.predict(targets[None], torch.tensor([4])))[0].detach().numpy()
    known = exact.start(0)
    for u in range(5):
        for t in range(lengths.item()):
            expected = exact.joined(0, encoded[0, t].detach().numpy(), known).value
            np.testing.assert_allclose(logits[t, u], expected, rtol=1e-9, atol=1e-11)
        if u < 4:
            known = exact.predict(0, targets[u].item(), known)


@pytest.mark.parametrize("max_symbols", [1, 2])
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_greedy_decoding_of_a_batch_is_that_of_its_definition(predictor, max_symbols):
    module = network(predictor)
    module.output.weight.data.mul_(20.0)  # a network that has something to say
    expected = []
    for frames, length in zip(speech(), LENGTHS.tolist(), strict=True):
        encoded, _ = module.encoder(frames[None, :length], torch.tensor([length]))
        said: list[int] = []
        for t in range(encoded.shape[1]):
            for _ in range(max_symbols):
                predicted = module.predict(torch.tensor([said], dtype=torch.int64), torch.tensor([len(said)]))
                best = int(module.join(encoded[:, t : t + 1], predicted[:, -1:]).argmax())
                if best == 0:
                    break
                said.append(best)
        expected.append(said)
    assert greedy_transcripts(module, speech(), LENGTHS, max_symbols) == expected
    assert any(expected)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_its_parameters_go_by_the_names_of_the_architecture(predictor):
    module = network(predictor, ctc=True)
    described = {m.name: (m.rows, m.columns) for m in module.architecture.matrices()}
    described |= {v.name: (v.size,) for v in module.architecture.vectors()}
    assert {name: value.shape for name, value in module.export().items()} == described
    weights = {name: p for name, p in module.named_parameters() if p.dim() == 2 and name != "ctc.weight"}
    assert set(module.matrix_names()) == set(weights)
    assert set(module.matrix_names().values()) == {m.name for m in module.architecture.matrices()}


def test_it_starts_from_a_ctc_network():
    torch.manual_seed(5)
    earlier_architecture = build_architecture(4, FRONT, ENCODER, 7)
    assert isinstance(earlier_architecture, Architecture)
    earlier = CtcNetwork(earlier_architecture).double().eval()
    with_ctc, without = network(ctc=True), network()
    drawn = without.output.weight.clone()
    for module in (with_ctc, without):
        module.start_from(earlier.state_dict(), earlier.levels)
    encoded = with_ctc.encoder(speech(), LENGTHS)[0]
    assert with_ctc.ctc is not None
    torch.testing.assert_close(with_ctc.ctc(encoded), earlier(speech(), LENGTHS)[0], rtol=0, atol=0)
    torch.testing.assert_close(without.encoder(speech(), LENGTHS)[0], encoded, rtol=0, atol=0)
    torch.testing.assert_close(without.output.weight, drawn, rtol=0, atol=0)


def test_it_starts_from_a_transducer_whatever_ctc_output_that_has():
    earlier, other = network(ctc=True), network()
    torch.nn.init.ones_(earlier.output.weight)
    other.start_from(earlier.state_dict(), earlier.levels)
    again = network(ctc=True)
    again.start_from(other.state_dict(), other.levels)
    for module in (other, again):
        torch.testing.assert_close(module.output.weight, earlier.output.weight, rtol=0, atol=0)
