"""`sparrot transcribe`: recordings into text, JSON or subtitles."""

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sparrot.cli.console import json_name
from sparrot.cli.decoding import (
    BeamOption,
    BlankPenaltyOption,
    Decoder,
    DecoderOption,
    HotwordOption,
    HotwordsOption,
    LmLevelOption,
    LmOption,
    LmPass,
    LmPassOption,
    LmScaleOption,
    MaxSymbolsOption,
    WordBonusOption,
    given_hotwords,
    given_lm,
)
from sparrot.cli.errors import BAD_INPUT, sentence_of, tell
from sparrot.cli.models import model_path
from sparrot.cli.outputs import check_outputs, write_text

if TYPE_CHECKING:
    from sparrot.engine import DecodingOptions, Recognizer, Transcript

STDIN = "-"


class Format(StrEnum):
    """What a transcript is written as; the values are also the suffixes of the files in a folder."""

    TEXT = "text"
    JSON = "json"
    SRT = "srt"
    VTT = "vtt"

    @property
    def suffix(self) -> str:
        """Of a file in this format."""
        return ".txt" if self is Format.TEXT else f".{self.value}"


def transcribe(  # one parameter an option: typer makes the command line of them
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...", help="Recordings of any format and rate, - is stdin; .mfc or .npy features."
        ),
    ],
    model: Annotated[
        Path | None, typer.Option(help="Model file or run folder; the packaged digits if none is named.")
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            help="Level of the model, or a number from 0 to 1 for the stop of the nearest sparsity; "
            "the densest level if none is named."
        ),
    ] = None,
    format: Annotated[Format, typer.Option(help="json is an object a recording, one a line.")] = Format.TEXT,
    decoder: DecoderOption = Decoder.GREEDY,
    beam: BeamOption = 8,
    max_symbols: MaxSymbolsOption = 1,
    blank_penalty: BlankPenaltyOption = 0.0,
    hotword: HotwordOption = None,
    hotwords: HotwordsOption = None,
    lm: LmOption = None,
    lm_level: LmLevelOption = None,
    lm_pass: LmPassOption = LmPass.FIRST,
    lm_scale: LmScaleOption = 0.4,
    word_bonus: WordBonusOption = 1.5,
    channel: Annotated[str, typer.Option(help="mix averages all channels; 0, 1, … picks one.")] = "mix",
    threads: Annotated[int, typer.Option(help="Threads that the engine computes on.")] = 1,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File, or an existing folder for a file a recording."),
    ] = None,
) -> int:
    """Turn recordings into text, JSON or subtitles.

    A recording that cannot be read gets its sentence on stderr and the others are transcribed; the
    exit code is then 2.
    """
    from sparrot.engine import DecodingOptions, Recognizer, set_threads

    set_threads(threads)
    options = DecodingOptions(
        decoder.value,
        beam,
        max_symbols,
        blank_penalty,
        given_hotwords(hotword, hotwords),
        given_lm(lm, lm_level),
        lm_pass.value,
        lm_scale,
        word_bonus,
    )
    path = model_path(model)
    writer = _writer(files, format, output)
    check_outputs(writer.paths(files), [path, *("/dev/stdin" if name == STDIN else name for name in files)])
    job = Job(Recognizer.load(path, level), options, _channel(channel))
    job.recognizer.check(options)
    if level is not None and level != job.recognizer.level:
        typer.echo(f"level {level}: the nearest stop is {job.recognizer.level}", err=True)
    n_failed = sum(not _transcribed(name, job, writer) for name in files)
    writer.close()
    return BAD_INPUT if n_failed else 0


@dataclass(frozen=True, eq=False)
class Job:
    """How every recording is transcribed."""

    recognizer: "Recognizer"
    options: "DecodingOptions"
    channel: Literal["mix"] | int

    def __call__(self, name: str) -> "Transcript":
        """The transcript of a file, or of what comes through stdin."""
        from sparrot.engine.recordings import naming

        if name != STDIN:
            return self.recognizer.transcribe(name, options=self.options, channel=self.channel)
        with naming("stdin"):
            return self.recognizer.transcribe(_stdin(), options=self.options, channel=self.channel)


class StdoutWriter:
    """Prints each transcript as soon as it is there."""

    def __init__(self, form: "Form") -> None:
        self._form = form

    def paths(self, files: Sequence[str]) -> list[Path]:
        """The files that it will write: none."""
        return []

    def add(self, name: str, transcript: "Transcript") -> None:
        """Prints it."""
        sys.stdout.write(self._form(name, transcript))
        sys.stdout.flush()

    def close(self) -> None:
        """Nothing."""


class FileWriter:
    """Writes all transcripts into one file, which appears when the last of them is there."""

    def __init__(self, form: "Form", path: Path) -> None:
        self._form = form
        self._path = path
        self._texts: list[str] = []

    def paths(self, files: Sequence[str]) -> list[Path]:
        """The file that it will write."""
        return [self._path]

    def add(self, name: str, transcript: "Transcript") -> None:
        """Keeps it until `close`."""
        self._texts.append(self._form(name, transcript))

    def close(self) -> None:
        """Writes the file, unless no recording could be transcribed."""
        if self._texts:
            write_text(self._path, "".join(self._texts))


class FolderWriter:
    """Writes each transcript into a file of its own, named after the recording."""

    def __init__(self, form: "Form", folder: Path) -> None:
        self._form = form
        self._folder = folder

    def paths(self, files: Sequence[str]) -> list[Path]:
        """The files that it will write for recordings of these names."""
        return [self._folder / _file_name(name, self._form.format) for name in files]

    def add(self, name: str, transcript: "Transcript") -> None:
        """Writes its file."""
        (path,) = self.paths([name])
        write_text(path, self._form(name, transcript))

    def close(self) -> None:
        """Nothing."""


Writer = StdoutWriter | FileWriter | FolderWriter


@dataclass(frozen=True)
class Form:
    """Turns a transcript into a text; in plain text of several recordings each line names its own."""

    format: Format
    named: bool

    def __call__(self, name: str, transcript: "Transcript") -> str:
        """The text of what a recording of this name reads."""
        match self.format:
            case Format.JSON:
                return (
                    json.dumps({"file": json_name(name), **transcript.to_json()}, ensure_ascii=False) + "\n"
                )
            case Format.SRT:
                return transcript.to_srt()
            case Format.VTT:
                return transcript.to_vtt()
        lines = transcript.to_text().splitlines(keepends=True)
        return "".join(f"{name}: {line}" if self.named else line for line in lines)


def _transcribed(name: str, job: Job, writer: Writer) -> bool:
    """Whether a recording could be transcribed; if not, the user knows why."""
    try:
        transcript = job(name)
    except (ValueError, TypeError, OSError) as error:
        tell(sentence_of(error) or str(error))
        return False
    except MemoryError as error:
        tell(f"{name}: {sentence_of(error)}")
        return False
    writer.add(name, transcript)
    return True


def _writer(files: Sequence[str], format: Format, output: Path | None) -> Writer:
    """Where transcripts go. Raises ValueError if two of them would get into each other's way."""
    if output is not None and output.is_dir():
        writer = FolderWriter(Form(format, named=False), output)
        paths = writer.paths(files)
        repeated = sorted({path for path in paths if paths.count(path) > 1})
        if repeated:
            raise ValueError(
                f"several recordings would be written to {repeated[0]}: transcribe them into different "
                f"folders"
            )
        return writer
    if len(files) > 1 and format in (Format.SRT, Format.VTT):
        raise ValueError(
            f"{format.value} holds one recording and {len(files)} were named: name an existing folder with -o"
        )
    form = Form(format, named=len(files) > 1)
    return StdoutWriter(form) if output is None else FileWriter(form, output)


def _file_name(name: str, format: Format) -> str:
    return ("stdin" if name == STDIN else Path(name).stem) + format.suffix


def _stdin() -> io.BytesIO:
    if sys.stdin is None:
        raise ValueError("stdin is closed, and `-` is to be read from it: name a file")
    return io.BytesIO(sys.stdin.buffer.read())


def _channel(text: str) -> Literal["mix"] | int:
    if text == "mix":
        return "mix"
    if not text.isdecimal():
        raise ValueError(f"--channel is `mix` or the number of a channel, from 0; got `{text}`")
    return int(text)
