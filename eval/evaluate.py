"""The entry `recexplain evaluate`: explainers against metrics, on the same people, question and budget."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path

from omegaconf import DictConfig, ListConfig
from rich.console import Console

from recexplain.adapters.recbole import RecBoleCheckpoint
from recexplain.checkpoint import Checkpoint
from recexplain.counterfactual import Options
from recexplain.errors import CheckpointError, DataError, OptionError, is_whole
from recexplain.evaluation.asked import check_known, check_whole, options_in
from recexplain.evaluation.config import AnyCheckpoint, checkpoint_in, dataset_of, plain
from recexplain.evaluation.contestants import contestants, limits_of
from recexplain.evaluation.files import open_folder, write_bytes, write_text
from recexplain.evaluation.journal import damaged
from recexplain.evaluation.measure import Measured
from recexplain.evaluation.people import counted, people_in
from recexplain.evaluation.progress import shown
from recexplain.evaluation.retraining import carry_out, plan_of
from recexplain.evaluation.scoreboard import Contest, board_of, values_of
from recexplain.evaluation.tables import curve_bytes, metric_bytes, seconds_of, timing_bytes
from recexplain.evaluation.terminal import print_board, print_retraining
from recexplain.evaluation.trials import MAIN, Work, trials, work_of
from recexplain.explainers import Explainer
from recexplain.explanation import Explanation
from recexplain.report.board import Board, Retraining
from recexplain.report.scoreboard import board_page
from recexplain.schema import parquet_bytes, read_explanations
from recexplain.sequences import Dataset, Histories

JOURNAL = "journal"  # the folder of what is done so far

#: Options that may differ in a second run into the same folder: the retraining comes after everything else.
LATER = ("retrain", "seeds", "retrain_group", "retrain_explainers")


def evaluate(config: DictConfig, out: Path) -> None:
    """Compare explainers on people of the data; a stopped run of the same options in `out` goes on."""
    options = _options(config)
    checkpoint = checkpoint_in(config)
    recommender = checkpoint.recommender(config.device)
    dataset = dataset_of(config, checkpoint)
    explainers = contestants(config.explainers, counted(dataset))
    limits = limits_of(config.limits, explainers)
    retrained = _retrained_labels(config, checkpoint, explainers)
    people = people_in(config, dataset, drawn=True)
    check_known(options, checkpoint.vocabulary)
    other = _other(config, checkpoint)
    compared = plain(config, without=("out", "checkpoint", "compare", *LATER))  # a model counts, not where it lies
    hashes = {"model_hash": checkpoint.model_hash, "compared_hash": other.model_hash if other else None}
    open_folder(out, "evaluate", {**compared, **hashes})
    summary = out / "summary.json"
    if summary.exists():
        Console().print(f"{out} is measured already")
    else:
        all_trials = trials(
            checkpoint,
            recommender,
            people,
            options,
            dataset=dataset,
            checks=config.checks,
            with_item=config.history == "test",
            other=other,
            budgets=list(config.budgets),
        )
        work = work_of(all_trials, explainers, limits, out / JOURNAL)
        for _ in shown(_steps(work), sum(len(one.people) for one in work), "evaluating", done=_n_done(work)):
            pass
        _finish(out, work, config, checkpoint, len(people))
    board, retraining = _board_in(summary), None
    if retrained:
        found = {label: _found(out, label) for label in retrained}
        users = [str(person.user) for person in people]
        retraining = _retraining(config, checkpoint, dataset, found, users=users, options=options, out=out)
    _report(out, board, retraining)


def _steps(work: Sequence[Work]) -> Iterator[None]:
    return chain.from_iterable(one.steps() for one in work)


def _n_done(work: Sequence[Work]) -> int:
    return sum(len(one.journal) for one in work)


def _finish(out: Path, work: Sequence[Work], config: DictConfig, checkpoint: AnyCheckpoint, n_people: int) -> None:
    """Write the files of a whole run, the summary last, and drop the journals."""
    contests = _contests(work)
    values = values_of(contests, n_people)
    settings = [(name, _in_words(config[name])) for name in SETTINGS if config[name] is not None]
    settings += [("model", checkpoint.model_hash), ("data", checkpoint.data_hash)]  # not the path: files may move
    board = board_of(contests, values, settings, n_resamples=config.resamples, seed=config.seed)
    for contest in contests:
        content = parquet_bytes([one.explanation for one in contest.measured])
        write_bytes(_explanations_file(out, contest.label), content)
    write_bytes(out / "metrics.parquet", metric_bytes(contests, values))
    write_bytes(out / "curves.parquet", curve_bytes(contests))
    write_bytes(out / "timings.parquet", timing_bytes(contests))
    write_text(out / "summary.json", json.dumps(board.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    shutil.rmtree(out / JOURNAL)


def _contests(work: Sequence[Work]) -> list[Contest]:
    """Return what each explainer came to, in the order they were asked for."""
    contests = []
    for main in (one for one in work if one.trial.name == MAIN):
        try:
            told = [Measured.from_dict(row) for row in main.journal.rows]
        except (DataError, KeyError, TypeError):
            raise damaged(main.journal.path) from None
        others = {one.trial.name: one.journal.rows for one in work if one.label == main.label and one is not main}
        contests.append(Contest(main.label, main.explainer, told, others))
    return contests


def _report(out: Path, board: Board, retraining: Retraining | None) -> None:
    """Print what a run came to, and write its page."""
    console, seconds = Console(), seconds_of(out / "timings.parquet")
    print_board(console, board, seconds)
    if retraining is not None:
        write_text(out / "retraining.json", json.dumps(retraining.to_dict(), indent=1, ensure_ascii=False) + "\n")
        print_retraining(console, retraining)
    write_text(out / "report.html", board_page(board, seconds, retraining))


def _retraining(
    config: DictConfig,
    checkpoint: Checkpoint,
    dataset: Dataset,
    found: Mapping[str, Mapping[str, Explanation]],
    *,
    users: Sequence[str],
    options: Options,
    out: Path,
) -> Retraining:
    own = checkpoint.config.get("seed")  # with it the same model would come out, in which nothing changes
    seeds = [seed for seed in range(config.seed, config.seed + config.seeds + 1) if seed != own][: config.seeds]
    plan = plan_of(found, users, config.retrain, seeds=seeds, group=config.retrain_group)
    limit = checkpoint.config.get("limit")  # it was trained on only so many users
    whole = dataset.histories
    if is_whole(limit, 1):
        whole = Histories(whole.users[:limit], whole.items, whole.starts[: len(whole.users[:limit]) + 1])
    told: Retraining = carry_out(plan, checkpoint, whole, found, options, out=out, device=config.device)
    return told


def _retrained_labels(config: DictConfig, checkpoint: AnyCheckpoint, explainers: Mapping[str, Explainer]) -> list[str]:
    """Return whose sets are taken out of the training data: none unless it is asked for."""
    labels = _labels(config, explainers)
    if not config.retrain:
        return []
    if isinstance(checkpoint, RecBoleCheckpoint):
        raise OptionError(f"{config.checkpoint} is of RecBole, and cannot be trained again here; leave retrain= out")
    from recexplain.training.again import recorded_recipe  # noqa: PLC0415  Lightning is slow to import

    recorded_recipe(checkpoint)  # one that cannot be trained again stops here
    return labels


def _labels(config: DictConfig, explainers: Mapping[str, Explainer]) -> list[str]:
    if config.retrain_explainers is None:
        return [next(iter(explainers))]
    if not isinstance(config.retrain_explainers, ListConfig) or not config.retrain_explainers:
        raise OptionError(f"retrain_explainers must be a list of labels, not {config.retrain_explainers!r}")
    for label in config.retrain_explainers:
        if label not in explainers:
            raise OptionError(f"retrain_explainers names {label!r}, which is not one of {', '.join(explainers)}")
    return list(dict.fromkeys(config.retrain_explainers))


def _found(out: Path, label: str) -> dict[str, Explanation]:
    return {str(one.user): one for one in read_explanations(_explanations_file(out, label))}


def _explanations_file(out: Path, label: str) -> Path:
    return out / "explanations" / f"{label}.parquet"


def _board_in(path: Path) -> Board:
    try:
        return Board.from_dict(json.loads(path.read_bytes()))
    except ValueError:  # a `DataError` is one too
        raise damaged(path) from None


def _other(config: DictConfig, checkpoint: AnyCheckpoint) -> AnyCheckpoint | None:
    """Return the checkpoint that explanations are compared with; `CheckpointError` where it is about other data."""
    if config.compare is None:
        return None
    other: AnyCheckpoint = checkpoint_in(config, config.compare)
    if other.data_hash != checkpoint.data_hash:
        raise CheckpointError(f"{config.compare} was trained on other data than {config.checkpoint}")
    return other


#: What the page says about the question that everyone was asked.
SETTINGS = (
    "change",
    "k",
    "tau",
    "wanted",
    "wanted_category",
    "removal",
    "max_evaluations",
    "history",
    "users",
    "limit",
    "checks",
    "seed",
)

#: Whole numbers: the least that is allowed, and what is said of null where it is allowed.
WHOLE = {
    "limit": (1, "or null for everyone"),
    "checks": (0, "or null for all"),
    "resamples": (1, None),
    "retrain": (0, None),
    "seeds": (1, None),
    "retrain_group": (1, None),
}


def _options(config: DictConfig) -> Options:
    """Return the question that everyone is asked, all options checked that need no data."""
    check_whole(config, WHOLE)
    if not isinstance(config.budgets, ListConfig) or not all(is_whole(most, 1) for most in config.budgets):
        raise OptionError(f"budgets must be a list of whole numbers of 1 or more, not {config.budgets!r}")
    if len(set(config.budgets)) < len(config.budgets):
        raise OptionError(f"budgets names a number twice: {config.budgets!r}")
    options: Options = options_in(config)
    return options


def _in_words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, ListConfig) else str(value)
