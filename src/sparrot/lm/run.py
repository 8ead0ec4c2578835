"""A whole run of a language model: train, keep the resolved configuration, export the best checkpoint."""

from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.table import Table

from sparrot.atomic import atomic_write
from sparrot.lm.config import LmConfig
from sparrot.lm.export import export_lm
from sparrot.lm.trainer import LmTrainer
from sparrot.train.checkpoint import find_checkpoint
from sparrot.train.denormals import without_denormals
from sparrot.train.foretelling import forecast_table


@without_denormals()
def train_lm_run(config: LmConfig, folder: Path, *, resume: bool) -> Path:
    """Trains into `folder` and returns the path of the model file made of its best checkpoint.

    No single file holds independent masks: after training with them it is the path of that checkpoint.

    Raises ValueError if the folder holds another run, KeyboardInterrupt if the user stops it.
    """
    trainer = LmTrainer.resumed(config, folder) if resume else LmTrainer.new(config, folder)
    with atomic_write(folder / "config.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    trainer.run()
    best = find_checkpoint(folder)
    if config.sparsity is not None and not config.sparsity.nested:
        return best
    model = folder / "model.sparrot"
    export_lm(best, model)
    return model


def foretell_lm(config: LmConfig) -> Table:
    """What the thresholds of a run would drop of its dense model; see `forecast_table`."""
    with TemporaryDirectory() as folder:
        trainer = LmTrainer.new(config, Path(folder))
        return forecast_table(trainer.sparsity, trainer.network.matrix_names())
