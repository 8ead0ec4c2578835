"""Files that once broke a promise of the loader, and a few hundred that are nearly models."""

import json
from pathlib import Path

import pytest

from fuzz.mutations import mutated
from fuzz.reading import check, write_seeds
from model_file.written import Parts
from sparrot.model_file import FormatError

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())


@pytest.fixture(scope="module")
def seeds(tmp_path_factory) -> list[Path]:
    return write_seeds(tmp_path_factory.mktemp("seeds"))


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_what_broke_the_loader_once_does_not_any_more(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    check(copy)


def test_seeds_are_read(seeds):
    for path in seeds:
        assert not isinstance(check(path), FormatError), path.name


def test_what_is_nearly_a_model_is_read_or_refused_in_one_sentence(seeds, tmp_path):
    """And it is refused by many checks, not only by the first."""
    path, refused_at, n_read = tmp_path / "file.sparrot", set(), 0
    for seed in range(240):
        raw = seeds[seed % len(seeds)].read_bytes()
        path.write_bytes(mutated(raw, seed, len(raw) + 1024))
        result = check(path)
        if isinstance(result, FormatError):
            refused_at.add(result.field)
        else:
            n_read += 1
    assert len(refused_at) > 60
    assert n_read > 40


def test_the_same_seed_makes_the_same_file(seeds):
    raw = seeds[0].read_bytes()
    made = [mutated(raw, seed, 1 << 16) for seed in range(20)]
    assert made == [mutated(raw, seed, 1 << 16) for seed in range(20)]
    assert len(set(made)) > 15


@pytest.mark.parametrize("entry", ["", 1, None, [], {}])
def test_a_file_whose_header_is_broken_is_changed_further(seeds, entry):
    """The search goes on from such files, and an error of the mutation would end it."""
    parts = Parts.of_bytes(seeds[0].read_bytes())
    parts.header.update(dict.fromkeys(parts.header.keys() - {"__metadata__"}, entry))
    raw = parts.to_bytes(json.dumps(parts.header))
    assert len({mutated(raw, seed, 1 << 16) for seed in range(60)}) > 10
