"""Where utterances come from, as a recipe or an option names it."""

from collections.abc import Sequence

from sparrot.corpora.manifest import Utterance, read_manifest
from sparrot.corpora.packaged import packaged_recordings, packaged_strings

_PACKAGED, _STRINGS = "packaged:", "strings/"


def read_source(source: str) -> list[Utterance]:
    """The utterances of a manifest's path, of `packaged:<split>` or of `packaged:strings/<list>`.

    The packaged recordings are single digits (train, dev, test) and strings of them (dev, test).
    Raises ValueError or FileNotFoundError if there is no such source.
    """
    if not source.startswith(_PACKAGED):
        return read_manifest(source)
    name = source.removeprefix(_PACKAGED)
    if name.startswith(_STRINGS):
        return packaged_strings(name.removeprefix(_STRINGS))
    return packaged_recordings(name)


def read_sources(sources: Sequence[str]) -> list[Utterance]:
    """The utterances of several sources, one after another."""
    return [utterance for source in sources for utterance in read_source(source)]
