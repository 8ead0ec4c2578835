import pytest
import torch

from sparrot.corpora.manifest import read_manifest
from sparrot.nn import CtcNetwork
from sparrot.sparsity import (
    BlockShape,
    CubicSchedule,
    Magnitude,
    WeightChange,
    WeightGradient,
    WeightGradientSum,
)
from sparrot.train.checkpoint import Checkpoint, Position, Setup, save_checkpoint
from sparrot.train.config import Config
from sparrot.train.data import measured_features
from sparrot.train.loop import Trainer
from sparrot.train.setup import earlier_run, make_sparsity, new_network, new_setup, require_steps
from sparrot.train.sparsity_config import SparsityConfig
from train import tiny


def test_a_new_run_takes_tokens_and_statistics_from_its_data(corpus):
    config = tiny.config(corpus)
    setup = new_setup(config, None)
    assert setup.tokens.symbols == tuple(sorted({*"onetwosix", " "}))
    assert setup.features == measured_features(config, read_manifest(corpus / "train.jsonl"))
    assert setup.architecture.n_tokens == 1 + len(setup.tokens.symbols)
    assert setup.architecture.input_width == 12


def drawn(config: Config) -> CtcNetwork:
    """The network of a run that starts from nothing."""
    return new_network(new_setup(config, None), None)


def test_weights_come_from_the_seed(corpus):
    states = [drawn(tiny.config(corpus, {"seed": seed})).state_dict() for seed in (1, 1, 2)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not torch.equal(*(state["layers.output.linear.weight"] for state in (states[0], states[2])))


# starting from another run


@pytest.fixture
def dense(corpus, tmp_path) -> tuple[Setup, dict[str, torch.Tensor]]:
    """The set-up and weights of a dense run whose checkpoint is in `dense/best.pt`."""
    setup = new_setup(tiny.config(corpus, {"seed": 7}), None)
    weights = new_network(setup, None).state_dict()
    (tmp_path / "dense").mkdir()
    path = tmp_path / "dense" / "best.pt"
    save_checkpoint(path, Checkpoint(setup, "", Position(), weights, None, {}, {}, torch.get_rng_state()))
    return setup, weights


def from_dense(corpus, tmp_path, changes=None):
    return tiny.config(corpus, {"training.init_from": str(tmp_path / "dense"), **(changes or {})})


@pytest.mark.parametrize("criterion", ["weight_gradient", "weight_change"])
def test_a_dynamic_run_starts_at_the_dense_weights_exactly(corpus, tmp_path, dense, criterion):
    setup, weights = dense
    config = from_dense(
        corpus, tmp_path, {"sparsity": tiny.SPARSE | {"criterion": criterion}, "dropout": 0.1}
    )
    trainer = Trainer.new(config, tmp_path / "dynamic")
    torch.testing.assert_close(dict(trainer.network.state_dict()), dict(weights), rtol=0, atol=0)
    assert (trainer.setup.features, trainer.setup.tokens) == (setup.features, setup.tokens)
    assert trainer.setup.config == config
    assert trainer.network.dropout.p == 0.1
    for name, before in trainer.sparsity.state_dict()["scores"][
        "before"
    ].items():  # changes are counted from here
        assert torch.equal(before, weights[name])


@pytest.mark.parametrize("changes", [{}, {"sparsity": tiny.SPARSE}])
def test_a_wider_run_starts_with_nearly_the_output_of_a_narrow_one(corpus, tmp_path, dense, changes):
    """Noise in the copies moves it, by less than drawing the network anew would."""
    config = from_dense(corpus, tmp_path, {"encoder.cells": 32, "encoder.fc": [16], "seed": 9, **changes})
    earlier = earlier_run(config)
    setup = new_setup(config, earlier)
    frames = torch.randn(1, 40, 12, generator=torch.Generator().manual_seed(3))
    narrow, wide, again, drawn = (
        network.eval()(frames, torch.tensor([40]))[0]
        for network in (
            new_network(dense[0], None),
            new_network(setup, earlier),
            new_network(setup, earlier),
            new_network(setup, None),
        )
    )
    assert torch.equal(wide, again)
    assert (wide - narrow).abs().max() < 0.3 * (drawn - narrow).abs().max()


def test_a_run_goes_on_without_the_one_it_started_from(corpus, tmp_path, dense):
    config = from_dense(corpus, tmp_path)
    Trainer.new(config, tmp_path / "run").save(tmp_path / "run" / "last.pt")
    (tmp_path / "dense" / "best.pt").unlink()
    resumed = Trainer.resumed(config, tmp_path / "run")
    torch.testing.assert_close(dict(resumed.network.state_dict()), dict(dense[1]), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "other"),
    [
        ({"encoder.cells": 17}, "front, encoder and predictor"),
        ({"front.stride": 2}, "front, encoder and predictor"),
        ({"features.high_hz": 3000.0}, "features"),
        ({"features.n_mels": 13}, "features"),
        ({"features.mean": [0.0] * 12, "features.scale": [1.0] * 12}, "features"),
        ({"tokens": {"kind": "sentencepiece", "size": 20}}, "tokens"),
        (
            {"tokens": {"kind": "sentencepiece", "size": 20}, "encoder.fc": []},
            "tokens and other front, encoder and predictor",
        ),
    ],
)
def test_a_run_of_another_kind_is_no_start(corpus, tmp_path, dense, changes, other):
    config = from_dense(corpus, tmp_path, changes)
    with pytest.raises(ValueError, match=r"cannot start from the weights of .*dense") as caught:
        new_setup(config, earlier_run(config))
    assert f"(training.init_from): it has other {other}; give this run the same" in str(caught.value)


def test_a_start_that_is_not_there_is_told_before_a_folder_is_made(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no checkpoint .*dense"):
        Trainer.new(from_dense(corpus, tmp_path), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# starting from a sparse run


@pytest.fixture
def sparse(corpus, tmp_path) -> Trainer:
    """A run of two levels, trained until its masks stand still; its checkpoint is in `sparse/last.pt`."""
    trainer = Trainer.new(tiny.config(corpus, {"sparsity": tiny.SPARSE}), tmp_path / "sparse")
    for epoch in range(2):
        for batch in trainer.data.batches(epoch):
            trainer.update(batch)
    trainer.save(tmp_path / "sparse" / "last.pt")
    return trainer


def from_sparse(corpus, tmp_path, **changes) -> Trainer:
    given = {
        "sparsity": tiny.SPARSE | {"initial": 1.0} | changes,
        "training.init_from": str(tmp_path / "sparse"),
    }
    return Trainer.new(tiny.config(corpus, given), tmp_path / "next")


def test_a_run_without_a_new_ramp_keeps_masks_and_scores(corpus, tmp_path, sparse):
    trainer = from_sparse(corpus, tmp_path)
    assert trainer.sparsity.step_count == 0
    assert trainer.sparsity.masks("small").keys() == sparse.sparsity.masks("small").keys()
    for name, mask in trainer.sparsity.masks("small").items():
        assert torch.equal(mask.keep, sparse.sparsity.masks("small")[name].keep)
    update = trainer.update(next(trainer.data.batches(0)))
    assert list(update.passes) == ["large", "small"]


@pytest.mark.parametrize("changes", [{"initial": 0.5}, {"block": "2x1"}, {"scope": "type"}])
def test_a_run_with_a_new_ramp_or_other_blocks_makes_masks_anew(corpus, tmp_path, sparse, changes):
    trainer = from_sparse(corpus, tmp_path, **changes)
    assert not trainer.sparsity.drops("small")


# sparsity


@pytest.fixture
def network(corpus):
    return drawn(tiny.config(corpus))


def test_shares_become_steps(network):
    shares = {"begin": 0.1, "end": 0.52, "freeze": 0.8}
    given = SparsityConfig(**tiny.SPARSE | shares | {"smoothing": 0.5, "exclude": ["*fc0*"]})
    made = make_sparsity(network, given, 200)
    assert made.schedule == CubicSchedule(20, 104)
    assert made.options.freeze_at == 160
    assert (made.options.mask_every, made.options.smoothing, made.options.nested) == (3, 0.5, True)
    assert dict(made.levels["small"]) == {"lstm": 0.75, "fc": 0.5}
    assert {grid.block for grid in made.grids.values()} == {BlockShape(4, 1)}
    assert "layers.output.linear.weight" in made.grids
    assert "layers.fc0.linear.weight" not in made.grids


def test_sparsity_may_grow_from_a_share_of_its_target(network):
    given = SparsityConfig(**tiny.SPARSE | {"begin": 0.0, "initial": 0.3})
    assert make_sparsity(network, given, 200).schedule.initial == 0.3


def test_masks_that_never_freeze_and_runs_of_a_few_steps(network):
    assert (
        make_sparsity(network, SparsityConfig(**tiny.SPARSE | {"freeze": None}), 9).options.freeze_at is None
    )
    short = make_sparsity(network, SparsityConfig(**tiny.SPARSE), 1)
    assert (short.schedule.begin, short.schedule.end, short.options.freeze_at) == (0, 1, 1)


@pytest.mark.parametrize(
    ("name", "criterion"),
    [
        ("weight_gradient", WeightGradient()),
        ("weight_gradient_sum", WeightGradientSum()),
        ("weight_change", WeightChange()),
        ("max", Magnitude("max")),
        ("l1", Magnitude("l1")),
        ("l2", Magnitude("l2")),
    ],
)
def test_criteria_have_names(network, name, criterion):
    options = make_sparsity(network, SparsityConfig(**tiny.SPARSE | {"criterion": name}), 10).options
    assert options.criterion == criterion


def test_scope_and_independent_masks_are_passed_on(network):
    given = SparsityConfig(**tiny.SPARSE | {"scope": "type", "nested": False})
    options = make_sparsity(network, given, 10).options
    assert (options.scope, options.nested) == ("type", False)


def test_a_dense_run_has_one_full_level(network):
    made = make_sparsity(network, None, 10)
    assert (made.passes(), dict(made.levels["dense"]), made.grids) == (("dense",), {}, {})


def test_what_the_papers_leave_open_is_passed_on(network):
    shares = {
        "gradient": "straight_through",
        "freeze": 0.8,
        "freeze_order": "sparsest_first",
        "freeze_weights": {"small": 0.9},
        "sample": "path",
        "products": "dense",
    }
    options = make_sparsity(network, SparsityConfig(**tiny.SPARSE | shares), 200, seed=7).options
    assert (options.gradient, options.freeze_order, options.sample) == (
        "straight_through",
        "sparsest_first",
        "path",
    )
    assert (options.freeze_at, dict(options.freeze_weights_at)) == (160, {"small": 180})
    assert (options.products, options.seed) == ("dense", 7)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (
            {"freeze": None, "freeze_order": "sparsest_first"},
            "`freeze_order` and `freeze_weights` need `freeze`",
        ),
        (
            {"freeze": None, "freeze_weights": {"small": 0.9}},
            "`freeze_order` and `freeze_weights` need `freeze`",
        ),
        (
            {"freeze_weights": {"small": 0.5}},
            r"would freeze its weights at 0\.5 of the steps, and its masks at 0\.7; let",
        ),
        (
            {"freeze_weights": {"small": 1.1}},
            r"would freeze its weights at 1\.1 of the steps, .*and both within the run",
        ),
        ({"freeze_weights": {"tiny": 0.9}}, "tiny"),
        ({"freeze_weights": {"large": 0.9}}, "large"),
        ({"sample": "path", "nested": False}, "leave `sample` out, or nest the levels"),
        ({"gradient": "accumulated", "criterion": "l1"}, "makes no use of `accumulated`"),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_the_recipe(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        SparsityConfig(**tiny.SPARSE | wrong)


def test_a_run_too_short_for_its_levels_is_refused(network):
    late = make_sparsity(
        network, SparsityConfig(**tiny.SPARSE | {"begin": 0.96, "end": 0.98, "freeze": None}), 10
    )
    with pytest.raises(
        ValueError, match="has 10 updates, and its sparsity would be reached at update 11; train more"
    ):
        require_steps(late, 10)
    require_steps(make_sparsity(network, SparsityConfig(**tiny.SPARSE), 10), 10)
    require_steps(make_sparsity(network, None, 1), 1)
