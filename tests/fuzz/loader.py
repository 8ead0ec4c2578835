"""Searches for a file that the loader neither reads nor refuses in one sentence.

    python tests/fuzz/loader.py --seconds 600

It starts from small models and from tests/fuzz/corpus, changes them (`mutations`) and looks for new paths
through the reader. What breaks a promise of `reading.check` is left as `crash-*` in the folder `--found`:
mend the loader, then move the file to tests/fuzz/corpus, which the tests replay.
"""

import argparse
import gc
import sys
import tempfile
from pathlib import Path
from types import FunctionType

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.mutations import mutated
from fuzz.reading import check, write_seeds

CORPUS = Path(__file__).parent / "corpus"
MAX_BYTES = 64 << 10


def main() -> None:
    """Searches for the time that is asked for; the exit code is 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--found", type=Path, default=Path("found"), help="folder of what the search keeps")
    given = parser.parse_args()
    given.found.mkdir(parents=True, exist_ok=True)
    watch("sparrot.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seeds, path = folder / "seeds", folder / "file.sparrot"
        seeds.mkdir()
        write_seeds(seeds)

        def one_input(raw: bytes) -> None:
            path.write_bytes(raw)
            check(path)

        def one_mutation(raw: bytes, max_bytes: int, seed: int) -> bytes:
            return mutated(raw, seed, max_bytes, atheris.Mutate)

        limits = [f"-max_total_time={given.seconds}", f"-max_len={MAX_BYTES}", "-timeout=20"]
        limits += ["-rss_limit_mb=2048", f"-artifact_prefix={given.found}/", "-print_final_stats=1"]
        command = [sys.argv[0], *limits, str(given.found), str(seeds), str(CORPUS)]
        atheris.Setup(command, one_input, custom_mutator=one_mutation)
        atheris.Fuzz()


def watch(modules: str) -> None:
    """Lets the search see which lines of these modules it reaches."""
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and (found.__module__ or "").startswith(modules):
            atheris.instrument_func(found)


if __name__ == "__main__":
    main()
