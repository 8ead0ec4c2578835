"""Which matrices of a model are prunable, under which name and type, in how many gates."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sparrot.sparsity import BlockShape, prunable_matrices


def listed(model: nn.Module, **options) -> list[tuple[str, str, int, tuple[int, ...]]]:
    return [
        (target.name, target.type, target.gates, tuple(target.parameter.shape))
        for target in prunable_matrices(model, **options)
    ]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4)
        self.hidden = nn.Linear(4, 4)
        self.output = nn.Linear(4, 6)
        self.output.weight = self.embedding.weight


class SharedCell(nn.Module):
    """A cell of one's own: one input matrix, two gates, and a table that is not offered."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_input = nn.Parameter(torch.ones(6, 2))
        self.weight_state = nn.Parameter(torch.ones(6, 3))
        self.table = nn.Parameter(torch.ones(5, 5))

    def prunable(self):
        return [("weight_input", "minimal", 2), ("weight_state", "minimal", 2)]


def test_linear_and_embedding_have_one_gate():
    assert listed(nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 5))) == [
        ("0.weight", "embedding", 1, (7, 3)),
        ("1.weight", "fc", 1, (5, 3)),
    ]


def test_a_projected_lstm_in_both_directions():
    assert listed(nn.LSTM(3, 4, num_layers=2, proj_size=2, bidirectional=True)) == [
        (name + end, "lstm", gates, shape)
        for layer, inputs in (("l0", 3), ("l1", 4))
        for end in ("", "_reverse")
        for name, gates, shape in (
            (f"weight_ih_{layer}", 4, (16, inputs)),
            (f"weight_hh_{layer}", 4, (16, 2)),
            (f"weight_hr_{layer}", 1, (2, 4)),
        )
    ]


@pytest.mark.parametrize(
    ("layer", "kind", "gates"),
    [
        (nn.GRU(3, 4), "gru", 3),
        (nn.RNN(3, 4), "rnn", 1),
        (nn.LSTM(3, 4), "lstm", 4),
    ],
)
def test_a_recurrent_layer(layer: nn.Module, kind: str, gates: int):
    assert listed(layer) == [
        ("weight_ih_l0", kind, gates, (4 * gates, 3)),
        ("weight_hh_l0", kind, gates, (4 * gates, 4)),
    ]


@pytest.mark.parametrize(
    ("cell", "kind", "gates"),
    [(nn.LSTMCell(3, 4), "lstm", 4), (nn.GRUCell(3, 4), "gru", 3), (nn.RNNCell(3, 4), "rnn", 1)],
)
def test_a_cell(cell: nn.Module, kind: str, gates: int):
    assert listed(nn.ModuleDict({"cell": cell})) == [
        ("cell.weight_ih", kind, gates, (4 * gates, 3)),
        ("cell.weight_hh", kind, gates, (4 * gates, 4)),
    ]


def test_gates_reach_the_grid():
    target = prunable_matrices(nn.GRU(3, 4))[0]
    grid = target.grid(BlockShape(3, 1))
    assert (grid.gates, grid.shape) == (3, (6, 3))


def test_other_layers_are_left_alone():
    assert listed(nn.Sequential(nn.Conv1d(2, 3, 3), nn.LayerNorm(3), nn.BatchNorm1d(3))) == []


def test_a_cell_of_ones_own_says_what_is_prunable():
    assert listed(nn.Sequential(SharedCell())) == [
        ("0.weight_input", "minimal", 2, (6, 2)),
        ("0.weight_state", "minimal", 2, (6, 3)),
    ]


def test_an_attribute_that_happens_to_be_called_prunable_is_no_offer():
    layer = nn.Linear(2, 2)
    layer.prunable = False
    assert [name for name, *_ in listed(layer)] == ["weight"]


def test_a_matrix_that_two_layers_share_is_listed_once():
    tied = Tied()
    assert [name for name, *_ in listed(tied)] == ["embedding.weight", "hidden.weight"]
    assert prunable_matrices(tied)[0].parameter is tied.output.weight


def test_a_module_used_twice_is_listed_once():
    layer = nn.Linear(2, 2)
    assert len(listed(nn.Sequential(layer, nn.ReLU(), layer))) == 1


def test_patterns_exclude_by_name():
    model = nn.ModuleDict({"encoder": nn.LSTM(3, 4), "output": nn.Linear(4, 2)})
    assert [name for name, *_ in listed(model, exclude=["output.*"])] == [
        "encoder.weight_ih_l0",
        "encoder.weight_hh_l0",
    ]
    assert [name for name, *_ in listed(model, exclude=["*_ih_*", "output.weight"])] == [
        "encoder.weight_hh_l0"
    ]


@pytest.mark.parametrize("pattern", ["embedding.*", "output.*"])
def test_a_shared_matrix_is_excluded_by_any_of_its_names(pattern: str):
    assert [name for name, *_ in listed(Tied(), exclude=[pattern])] == ["hidden.weight"]


def test_a_pattern_that_matches_nothing_is_refused_with_the_nearest():
    model = nn.ModuleDict({"encoder": nn.LSTM(2, 2), "output": nn.Linear(2, 2)})
    with pytest.raises(ValueError, match=r"matches `outputs\.\*`; .* Did you mean `output\.weight`\?$"):
        prunable_matrices(model, exclude=["outputs.*"])
    with pytest.raises(ValueError, match=r"matches `enc\.l0`; .* Did you mean `encoder\.weight_.h_l0`\?$"):
        prunable_matrices(model, exclude=["enc.l0"])
    with pytest.raises(ValueError, match=r"matches `any`; the prunable matrices are none\.$"):
        prunable_matrices(nn.Identity(), exclude=["any"])


def parametrised(model: nn.Module, name: str) -> nn.Module:
    return parametrizations.weight_norm(model, name)


def old_weight_norm(model: nn.Module, name: str) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(model, name)


@pytest.mark.parametrize("compute", [parametrised, old_weight_norm])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: nn.Linear(3, 2), "weight"),
        (lambda: nn.LSTM(3, 2), "weight_hh_l0"),
        (lambda: nn.GRUCell(3, 2), "weight_ih"),
    ],
)
def test_a_weight_that_is_computed_is_refused_unless_excluded(compute, make, name: str):
    model = compute(make(), name)
    with pytest.raises(ValueError, match=f"cannot prune `{name}`: it is computed .* or exclude it"):
        prunable_matrices(model)
    assert name not in [target.name for target in prunable_matrices(model, exclude=[name])]


def test_excluding_one_computed_weight_does_not_hide_another():
    model = nn.Sequential(parametrised(nn.Linear(3, 2), "weight"), parametrised(nn.Linear(2, 2), "weight"))
    with pytest.raises(ValueError, match=r"cannot prune `1\.weight`: it is computed"):
        prunable_matrices(model, exclude=["0.*"])


def test_an_embedding_with_sparse_gradients_is_refused():
    with pytest.raises(ValueError, match=r"cannot prune `weight`: its gradients are sparse.*`sparse=False`"):
        prunable_matrices(nn.Embedding(3, 2, sparse=True))


@pytest.mark.parametrize(
    "offer", [("weight_input", "minimal", 4), ("weight_input", "minimal", 0), ("cube", "x", 1)]
)
def test_an_offer_that_is_no_matrix_of_equal_gates_is_refused(offer: tuple[str, str, int]):
    cell = SharedCell()
    cell.cube = nn.Parameter(torch.ones(2, 2, 2))
    cell.prunable = lambda: [offer]
    with pytest.raises(ValueError, match=rf"cannot prune `{offer[0]}`: a matrix of {offer[2]} equal gates"):
        prunable_matrices(cell)


def test_an_offer_that_the_module_does_not_have_is_refused():
    cell = SharedCell()
    cell.register_buffer("mean", torch.ones(2, 2))
    cell.register_parameter("absent", None)
    cell.width = 3
    for name in ("weight_inputs", "mean", "absent", "width"):
        cell.prunable = lambda name=name: [(name, "minimal", 1)]
        words = rf"cannot prune `0\.{name}`: its module has no such parameter; correct what .*`prunable\(\)`"
        with pytest.raises(ValueError, match=words):
            prunable_matrices(nn.Sequential(cell))


@pytest.mark.parametrize("compute", [parametrised, old_weight_norm])
def test_an_offer_that_is_computed_is_refused_as_such(compute):
    with pytest.raises(ValueError, match=r"cannot prune `weight_input`: it is computed"):
        prunable_matrices(compute(SharedCell(), "weight_input"))
