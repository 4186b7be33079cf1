"""The entry `recexplain verify`: explanations and a checkpoint -> what does not hold, a line each."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TextIO

from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape

from recexplain.adapters.recbole import RecBoleCheckpoint
from recexplain.errors import DataError, OptionError, RecExplainError, is_whole
from recexplain.evaluation.audit_run import read_counted
from recexplain.evaluation.audit_staging import Users
from recexplain.evaluation.config import AnyCheckpoint, checkpoint_in, dataset_of
from recexplain.evaluation.files import write_pieces
from recexplain.evaluation.progress import shown
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender
from recexplain.schema import explanations_in
from recexplain.sequences import Dataset
from recexplain.verification import Failure, failures_of


def verify(config: DictConfig, out: Path) -> int:
    """Verify a file of explanations, write `failures.json`; 1 if anything does not hold, else 0."""
    for name in ("limit", "max_evaluations"):
        if config[name] is not None and not is_whole(config[name], 1):
            raise OptionError(f"{name} must be a whole number of 1 or more, or null for all, not {config[name]!r}")
    path = Path(str(config.explanations))
    n, failures = _looked_through(path, config.limit)  # a row that cannot be read stops here
    recommender, dataset, problem = _model_and_data(config)
    failures += [Failure(-1, None, problem)] if problem else []
    rows = enumerate(shown(islice(explanations_in(path), config.limit), n, "verifying"))
    console, named = Console(soft_wrap=True), {failure.row for failure in failures if failure.row >= 0}
    n_named, last = len(named), -1
    with TemporaryFile("w+", encoding="utf-8") as kept:  # all rows may have failures, of another checkpoint say
        for failure in failures:
            _keep(failure, kept)
        for failure in _failures(rows, recommender, dataset, config.max_evaluations):
            _keep(failure, kept)
            n_named, last = n_named + (failure.row != last and failure.row not in named), failure.row
        for failure in _kept(kept):
            where = "" if failure.row < 0 else f"row {failure.row}, user {failure.user}: "
            console.print(escape(where + failure.reason), highlight=False)
        console.print(f"{n:,} explanations, {n_named:,} of them with failures", highlight=False)
        write_pieces(out / "failures.json", _as_json(_kept(kept)))
    return 1 if failures or n_named else 0


def _keep(failure: Failure, kept: TextIO) -> None:
    kept.write(json.dumps(asdict(failure)) + "\n")


def _kept(kept: TextIO) -> Iterator[Failure]:
    kept.seek(0)
    return (Failure(**json.loads(line)) for line in kept)


def _as_json(failures: Iterable[Failure]) -> Iterator[bytes]:
    """Yield a JSON list, an element at a time."""
    before = "["
    for failure in failures:
        yield (before + json.dumps([asdict(failure)], indent=2)[1:-2]).encode()
        before = ","
    yield b"[]\n" if before == "[" else b"\n]\n"


def _looked_through(path: Path, limit: int | None) -> tuple[int, list[Failure]]:
    """Return how many rows there are, and what is wrong with who is among them: somebody twice, or not all.

    Two people without a name may have the same row. Of an audit the people are compared with those who went in, unless
    only some rows are looked at.
    """
    n, failures, users, digests = 0, [], Users(), set[int]()
    for row, one in enumerate(islice(explanations_in(path), limit)):
        n += 1
        users.add([str(one.user)])
        if one.user is None or not one.digest:
            continue
        digest = hash(one.digest)
        if digest in digests:
            failures.append(Failure(row, one.user, "digest: the same row stands here twice"))
        digests.add(digest)
    if not n:
        raise DataError(f"{path} holds no rows; there is nothing to verify")
    census = path.parent / "census.json"
    if limit is None and path.is_dir() and census.exists():
        went_in = read_counted(census)
        if (users.n, users.hash) != (went_in.n_people, went_in.users_hash):
            reason = f"{went_in.n_people:,} people went into the audit, and {n:,} rows are here, or of others"
            failures.append(Failure(-1, None, reason))
    return n, failures


def _model_and_data(config: DictConfig) -> tuple[Recommender, Dataset | None, str | None]:
    """Return the recommender, the data that histories are compared with, or what is wrong with that."""
    checkpoint = checkpoint_in(config)
    return checkpoint.recommender(config.device), *_data(config, checkpoint)


def _data(config: DictConfig, checkpoint: AnyCheckpoint) -> tuple[Dataset | None, str | None]:
    """Return the data that histories are compared with, or what is wrong with it."""
    is_free = config.data is None or isinstance(checkpoint, RecBoleCheckpoint)  # whose ids may come from data=
    if is_free and _is_of_a_table(Path(str(config.explanations))):
        Console(soft_wrap=True).print(
            "the audit's histories came from a table of their own: they are taken as they stand"
        )
        return None, None
    try:
        return dataset_of(config, checkpoint), None
    except RecExplainError as error:
        if config.data is None:
            return None, None  # it lies elsewhere now, and none was given: histories stand as they are
        return None, f"data: {error}"


def _is_of_a_table(explanations: Path) -> bool:
    """Whether these are an audit's, of people from a table and not from the data of the checkpoint."""
    try:
        said = json.loads((explanations.parent / "audit.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("table") is not None


def _failures(
    rows: Iterator[tuple[int, Explanation]], recommender: Recommender, dataset: Dataset | None, most: int | None
) -> Iterator[Failure]:
    for row, explanation in rows:
        reasons: list[Any] = [*failures_of(recommender, explanation, max_evaluations=most)]
        if dataset is not None:
            reasons += _about_the_history(explanation, dataset)
        for reason in reasons:
            yield Failure(row, explanation.user, reason)


def _about_the_history(explanation: Explanation, dataset: Dataset) -> Sequence[str]:
    """Return what is wrong where the user has another history in the data; all of it, or all but the test item."""
    try:
        row = dataset.histories.row_of(explanation.user)
    except RecExplainError as error:
        return [f"user: {error}"]
    ids = dataset.vocabulary.ids
    whole = tuple(ids[item - 1] for item in dataset.histories[row])
    return [] if explanation.history in (whole, whole[:-1]) else ["history: it is not that of the user in the data"]
