"""The command line: one word an entry, then Hydra's options; every failure is one sentence and an exit status."""

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from recexplain.errors import OptionError, RecExplainError

#: Entry -> the module and function that it runs, and what it does.
ENTRIES = {
    "train": ("recexplain.training.train", "train", "fit a recommender and write its checkpoint"),
    "explain": ("recexplain.evaluation.explain", "explain", "explain people's recommendations"),
    "evaluate": ("recexplain.evaluation.evaluate", "evaluate", "compare explainers by many metrics"),
    "audit": ("recexplain.evaluation.audit", "audit", "explain everyone of a table of histories, and report on it"),
    "verify": ("recexplain.evaluation.verify", "verify", "test again what explanations say"),
}

#: What a person can set right; anything else is a bug of ours and shows where it is.
FAILURES = (RecExplainError, HydraException, OmegaConfBaseException)

BAD_INPUT, INTERRUPTED = 2, 130

#: Where Hydra's sentences begin to say what helps nobody.
WHERE_HYDRA_LOOKED = ("full_key:", "    object_type=", "Config search path:", ", set env var")

#: What Hydra would write beside our own folder: its copy of the options and a log file.
QUIET = (
    "hydra.run.dir=.",
    "hydra.sweep.dir=outputs/sweeps/${now:%Y-%m-%d_%H-%M-%S}",  # Hydra writes what was swept, in any case
    "hydra.sweep.subdir=.",
    "hydra.output_subdir=null",
    "hydra/job_logging=none",
    "hydra/hydra_logging=none",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one entry; return its exit status.

    0 done, 1 something does not hold, 2 bad input, 3 a gate is not met, 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--version" in words or words[:1] == ["-V"]:
        sys.stdout.write(f"recexplain {version('recexplain')}\n")
        return 0
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0 if words else BAD_INPUT
    if words[0] not in ENTRIES:
        return _refused(f"there is no command {words[0]!r}; allowed are {', '.join(ENTRIES)}")
    return _status(words[0], words[1:])


def output_folder(config: DictConfig, entry: str) -> Path:
    """Return the folder of a run: `out`, or one named by date and time; a sweep numbers its runs."""
    number = _number()
    job = [] if number is None else [str(number)]
    if config.out is not None:
        if isinstance(config.out, bool | float) or not str(config.out).strip() or OmegaConf.is_config(config.out):
            raise OptionError(f"out must be a folder, or null for one named by the time, not {config.out!r}")
        return Path(str(config.out), *job)
    return Path("outputs", entry, f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *job)


def _number() -> int | None:
    """Return which run of a sweep this is, from 0; None where there is one run only."""
    state = HydraConfig.get()
    return int(state.job.num) if state.mode == RunMode.MULTIRUN else None


def _status(entry: str, options: Sequence[str]) -> int:
    """Run an entry; return its exit status, and say in one sentence what stopped it."""
    try:
        _check_flags(options)
        return _run(entry, options)
    except KeyboardInterrupt as stopped:
        again = f"; the same command with out={stopped} goes on from here" if str(stopped) else ""
        sys.stderr.write(f"\nrecexplain: stopped{again}\n")
        return INTERRUPTED
    except SystemExit as shown:  # Hydra has printed its help
        return int(shown.code or 0)
    except (*FAILURES, OSError) as error:
        return _refused(_sentence(error))


def _run(entry: str, options: Sequence[str]) -> int:
    """Let Hydra compose the configuration and call the entry with it; then print where the results are.

    Returns the entry's own exit status, of a sweep the highest.
    """
    module, name, _ = ENTRIES[entry]
    composed: list[DictConfig] = []
    told = Path(tempfile.mkdtemp())  # what runs came to: those of a sweep may be in processes of their own

    def task(config: DictConfig) -> None:
        composed.append(config)
        run: Callable[[DictConfig, Path], int | None] = getattr(import_module(module), name)
        out, sentence = Path(), ""
        try:
            _check_names(config, entry)
            out = output_folder(config, entry)
            status = run(config, out) or 0  # an entry that finds no fault of its own returns nothing
        except (*FAILURES, OSError) as error:
            status, sentence = BAD_INPUT, _sentence(error)  # said below, without Hydra's own words; a sweep goes on
        except KeyboardInterrupt:
            raise KeyboardInterrupt(str(out)) from None
        (told / f"{_number() or 0:09}").write_text(f"{status} {sentence}", encoding="utf-8")
        if not sentence:
            sys.stdout.write(f"{out}\n")

    decorate = hydra.main(version_base="1.3", config_path="pkg://recexplain.conf", config_name=entry)
    try:
        with _asked_of_hydra(f"recexplain {entry}", *_flags_first([*QUIET, *options])):
            decorate(task)()
        ends = [path.read_text(encoding="utf-8").partition(" ") for path in sorted(told.iterdir())]
    except ValueError as error:
        if composed or isinstance(error, FAILURES):
            raise
        raise OptionError(f"the options cannot be put together: {error}") from None
    finally:
        shutil.rmtree(told)
    for *_, sentence in ends:
        if sentence:
            raise OptionError(sentence)
    return max((int(status) for status, *_ in ends), default=0)


@contextmanager
def _asked_of_hydra(*words: str) -> Iterator[None]:
    """Let Hydra read these words as those of the command, and hand errors on; then all is as it was."""
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = list(words)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to `main`, which turns them into a sentence
    try:
        yield
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _check_names(config: DictConfig, entry: str) -> None:
    """Raise `OptionError` for an option that the entry does not have: Hydra takes any that `+` stands before."""
    own = OmegaConf.create((files("recexplain.conf") / f"{entry}.yaml").read_text(encoding="utf-8"))
    names = {str(name) for one in own.defaults if one != "_self_" for name in one}  # groups of options
    names |= {str(name) for name in own} - {"defaults", "hydra"}
    for name in map(str, config):
        if name not in names:
            raise OptionError(f"recexplain {entry} has no option {name}; it has {', '.join(sorted(names))}")


def _check_flags(options: Sequence[str]) -> None:
    """Raise `OptionError` for a flag that Hydra does not know, before its parser prints how it is used."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            get_args_parser().parse_args(_flags_first(options))
    except SystemExit:
        raise OptionError(said.getvalue().splitlines()[-1].partition("error: ")[2]) from None


def _flags_first(options: Sequence[str]) -> list[str]:
    """Return the options with flags before `name=value`: argparse takes these in one block only."""
    return sorted(map(_readable, options), key=lambda word: "=" in word and not word.startswith("-"))


def _readable(word: str) -> str:
    """Return an option with its value in quotes where it is one word with letters beyond ASCII, such as a path."""
    name, is_set, value = word.partition("=")
    if not is_set or value.isascii() or set(value) & set(",[]{}()'\"\\"):
        return word
    return f"{name}='{value}'"


def _sentence(error: BaseException) -> str:
    """Return what was wrong on one line: our own sentence where Hydra has wrapped one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RecExplainError):
            return " ".join(str(cause).split())
        cause = cause.__cause__
    if isinstance(error, OverrideParseException):
        return f"the option {error.override} cannot be read; any text may stand in quotes: users=['a b','é(1)']"
    if isinstance(error, OSError) and not isinstance(error, FAILURES):  # Hydra has a class that is both
        if error.strerror is None:
            raise error
        return f"{error.filename or 'a file'} cannot be read or written: {error.strerror}"
    text = str(error)
    for rest in WHERE_HYDRA_LOOKED:
        text = text.partition(rest)[0]
    return " ".join(text.split())


def _refused(sentence: str) -> int:
    sys.stderr.write(f"recexplain: {sentence}\n")
    return BAD_INPUT


def _usage() -> str:
    lines = [f"  recexplain {entry:<10}{what}" for entry, (_, _, what) in ENTRIES.items()]
    head, foot = "which past items made a recommender say this", "`recexplain <command> --help` lists its options."
    return "\n".join([head, "", *lines, "", foot, ""])


if __name__ == "__main__":
    sys.exit(main())
