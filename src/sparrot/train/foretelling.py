"""What thresholds will drop, told before training."""

from collections.abc import Mapping

from rich.table import Table

from sparrot.sparsity import AnySparsity, Pruning


def forecast_table(sparsity: AnySparsity, names: Mapping[str, str]) -> Table:
    """The sparsity of every matrix, of every layer type and of all that the thresholds of a run will lead to.

    They are those of the dense model that the thresholds come from; `names` are those of a model file. Raises
    ValueError if the run has no thresholds.
    """
    if not isinstance(sparsity, Pruning) or not sparsity.foretold:
        raise ValueError("there is nothing to foretell without thresholds, `pruning: {method: threshold}`")
    table = Table(title="under the last threshold")
    table.add_column("matrix")
    table.add_column("weights", justify="right")
    table.add_column("dropped", justify="right")
    sizes = {target.name: target.parameter.numel() for target in sparsity.targets}
    types = {target.name: target.type for target in sparsity.targets}
    sums = {f"all {kind}": [name for name in sizes if types[name] == kind] for kind in sparsity.method.types}
    matrices = {names.get(name, name): [name] for name in sizes}
    for title, summed in {**matrices, **sums, "all": list(sizes)}.items():
        weights = sum(sizes[name] for name in summed)
        dropped = sum(sizes[name] * sparsity.foretold[name] for name in summed)
        table.add_row(title, f"{weights:,}", f"{dropped / weights:.1%}")
    return table
