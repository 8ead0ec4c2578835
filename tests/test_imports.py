"""The directions of imports, and that running never needs what training needs."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparrot

PACKAGE = Path(sparrot.__file__).parent
SHARED = {
    "architecture",
    "atomic",
    "audio",
    "feature_files",
    "features",
    "metrics",
    "model_file",
    "sentences",
    "source",
    "spectrogram",
    "text",
}
# What each part of the package may import of the others, and nothing else.
ALLOWED = {
    **dict.fromkeys(SHARED, SHARED),
    "model_file": SHARED | {"_core"},
    "_core": set(),
    "engine": SHARED | {"_core", "corpora"},  # corpora: what is recognised to measure a level
    "sparsity": set(),
    "_training": set(),
    "nn": SHARED | {"sparsity", "_training"},
    "corpora": SHARED,
    "train": SHARED | {"nn", "sparsity", "corpora"},
    "lm": SHARED | {"nn", "sparsity", "train"},
    "report": SHARED,
    "bench": SHARED | {"_core", "engine"},
    "server": SHARED | {"engine"},
    "cli": SHARED
    | {"_core", "bench", "engine", "lm", "server", "train", "nn", "sparsity", "corpora", "report"},
    "__init__": {"engine", "model_file"},
    "__main__": {"cli"},
}
RUNNING = [*sorted(SHARED), "engine", "cli", "server", "corpora", "__init__", "__main__"]
TRAINING_PACKAGES = {"torch", "pydantic", "tensorboard", "matplotlib", "safetensors", "yaml"}


def part_of(path: Path) -> str:
    """`engine` of engine/stream.py, `audio` of audio.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The absolute name of everything imported in a piece of code, lazily or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(tree: ast.AST) -> set[str]:
    """The parts of this package that a piece of code imports; the version belongs to none."""
    names = {name for name in imports(tree) if name.startswith("sparrot.")}
    return {name.split(".")[1] for name in names - {"sparrot.__version__"}}


def eager(tree: ast.Module) -> ast.Module:
    """A module without the bodies of its functions and without what only a type checker reads."""

    class Stripper(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else node

    return Stripper().visit(tree)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = part_of(path)
    assert part in ALLOWED, f"say in ALLOWED what sparrot.{part} may import"
    assert own_parts(ast.parse(path.read_text())) - {part} <= ALLOWED[part]


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if part_of(path) in RUNNING],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_running_names_nothing_that_only_training_installs(path):
    tree = ast.parse(path.read_text())
    if part_of(path) == "cli":  # the verbs that train import it when they are called
        tree = eager(tree)
        assert not own_parts(tree) & {"lm", "train", "nn", "sparsity"}
    assert not {name.split(".")[0] for name in imports(tree)} & TRAINING_PACKAGES


def test_sparsity_knows_only_torch_and_itself():
    known = sys.stdlib_module_names | {"torch", "sparrot", "jaxtyping"}
    for path in (PACKAGE / "sparsity").rglob("*.py"):
        assert {name.split(".")[0] for name in imports(ast.parse(path.read_text()))} <= known


def loaded_after(statement: str) -> set[str]:
    """The top-level modules of a fresh interpreter after a statement."""
    report = "import sys; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{statement}; {report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_running_loads_no_torch():
    everything = "import sparrot.engine, sparrot.cli.transcribe, sparrot.cli.inspect"
    assert not loaded_after(everything) & TRAINING_PACKAGES


def test_importing_the_package_loads_nothing():
    assert not loaded_after("import sparrot") & {"numpy", "typer", "soundfile", "soxr"}


def test_every_public_name_is_there():
    for name in sparrot.__all__:
        assert getattr(sparrot, name) is not None
    assert sparrot.Recognizer.__module__ == "sparrot.engine.recognizer"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="`sparrot` has no attribute `Recogniser`"):
        _ = sparrot.Recogniser
