"""The command line: one word an entry, then Hydra's options; every failure is one sentence and an exit status."""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from recexplain.errors import RecExplainError

#: Entry -> the module and function that it runs, and what it does.
ENTRIES = {
    "train": ("recexplain.training.train", "train", "fit a recommender and write its checkpoint"),
    "explain": ("recexplain.evaluation.explain", "explain", "explain people's recommendations"),
}

BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one entry; return its exit status: 0 done, 2 bad input, 130 interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["--version"], ["-V"]):
        sys.stdout.write(f"recexplain {version('recexplain')}\n")
        return 0
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_usage())
        return 0 if words else BAD_INPUT
    if words[0] not in ENTRIES:
        return _refused(f"there is no command {words[0]!r}; allowed are {', '.join(ENTRIES)}")
    try:
        _run(words[0], words[1:])
    except KeyboardInterrupt:
        sys.stderr.write("\nrecexplain: stopped; the same command with the same out= goes on from here\n")
        return INTERRUPTED
    except (RecExplainError, HydraException, OmegaConfBaseException) as error:
        return _refused(_sentence(error))
    return 0


def output_folder(config: DictConfig, entry: str) -> Path:
    """Return the folder of a run: `out`, or one named by date and time; a sweep numbers its runs."""
    state = HydraConfig.get()
    job = [str(state.job.num)] if state.mode == RunMode.MULTIRUN else []
    if config.out is not None:
        return Path(config.out, *job)
    return Path("outputs", entry, f"{datetime.now():%Y-%m-%d_%H-%M-%S}", *job)


def _run(entry: str, options: Sequence[str]) -> None:
    """Let Hydra compose the configuration and call the entry with it; then print where the results are."""
    module, name, _ = ENTRIES[entry]

    failed: list[RecExplainError | OmegaConfBaseException] = []

    def task(config: DictConfig) -> None:
        run: Callable[[DictConfig, Path], None] = getattr(import_module(module), name)
        out = output_folder(config, entry)
        try:
            run(config, out)
        except (RecExplainError, OmegaConfBaseException) as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # the launcher says which of the runs it was
            failed.append(error)  # raised below, without Hydra's own words on top
            return
        sys.stdout.write(f"{out}\n")

    decorate = hydra.main(version_base="1.3", config_path="pkg://recexplain.conf", config_name=entry)
    argv, full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    sys.argv = [f"recexplain {entry}", *options]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to `main`, which turns them into a sentence
    try:
        decorate(task)()
    finally:
        sys.argv = argv
        if full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]
        else:
            os.environ["HYDRA_FULL_ERROR"] = full_error
    if failed:
        raise failed[0]


def _sentence(error: BaseException) -> str:
    """Return what was wrong on one line: our own sentence where Hydra has wrapped one."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RecExplainError):
            return str(cause)
        cause = cause.__cause__
    text = str(error).split("full_key:")[0].split("    object_type=")[0]
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
