"""A whole run: train, keep the resolved configuration, export the best checkpoint."""

from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from rich.table import Table

from sparrot.atomic import atomic_write
from sparrot.train.checkpoint import find_checkpoint
from sparrot.train.config import Config
from sparrot.train.denormals import without_denormals
from sparrot.train.export import export
from sparrot.train.foretelling import forecast_table
from sparrot.train.loop import Trainer
from sparrot.train.record import Record


@without_denormals()
def train_run(config: Config, folder: Path, *, resume: bool) -> Path:
    """Trains into `folder` and returns the path of the model file made of its best checkpoint.

    No single file holds independent masks: after training with them it is the path of that checkpoint.

    Raises ValueError if the folder holds another run, KeyboardInterrupt if the user stops it.
    """
    trainer = Trainer.resumed(config, folder) if resume else Trainer.new(config, folder)
    with atomic_write(folder / "config.yaml") as file:
        file.write(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())
    trainer.run(Record(folder, trainer.position))
    best = find_checkpoint(folder)
    if config.sparsity is not None and not config.sparsity.nested:
        return best
    model = folder / "model.sparrot"
    export(best, model)
    return model


def foretell(config: Config) -> Table:
    """What the thresholds of a run would drop of its dense model; see `forecast_table`."""
    with TemporaryDirectory() as folder:
        trainer = Trainer.new(config, Path(folder))
        return forecast_table(trainer.sparsity, trainer.network.matrix_names())
