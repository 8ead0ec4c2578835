"""Which file is meant where a command takes a model."""

from pathlib import Path


def model_path(model: Path | None) -> Path:
    """The model file: of a run folder its model.sparrot, and the packaged digits if none is named.

    Raises: ValueError if the folder holds no model file.
    """
    from sparrot.engine.recognizer import packaged_model

    if model is None:
        return packaged_model()
    if not model.is_dir():
        return model
    path = model / "model.sparrot"
    if not path.exists():
        raise ValueError(
            f"the run {model} has no model.sparrot: it is written when training ends, or by `sparrot export "
            f"{model}`. A run with `sparsity.nested: false` never gets one, since no single file holds "
            f"independent masks; its errors on dev are in {model / 'log.jsonl'}"
        )
    return path
