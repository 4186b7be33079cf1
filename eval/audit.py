"""The entry `recexplain audit`: a checkpoint and everyone's histories -> one row a person, a report, gates."""

import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from recexplain.adapters.recbole import RecBoleCheckpoint
from recexplain.counterfactual import Options
from recexplain.errors import OptionError
from recexplain.evaluation.asked import check_fits, check_known, check_whole, check_word, options_in
from recexplain.evaluation.audit_engines import Engine, LocalEngine
from recexplain.evaluation.audit_extras import extras_in
from recexplain.evaluation.audit_gates import checked_gates, gates_of
from recexplain.evaluation.audit_histories import HistoryTable, Layout, content_hash, layout_of
from recexplain.evaluation.audit_kernel import FromCheckpoint, Job
from recexplain.evaluation.audit_local import cores
from recexplain.evaluation.audit_parts import Folders
from recexplain.evaluation.audit_report import report_of
from recexplain.evaluation.audit_run import Audit, Counted, alone, explained, tidy
from recexplain.evaluation.audit_sections import counts_of
from recexplain.evaluation.audit_spark import SparkEngine
from recexplain.evaluation.audit_staging import Selection
from recexplain.evaluation.audit_studies import Study
from recexplain.evaluation.config import AnyCheckpoint, checkpoint_in, dataset_of, explainer_in, plain
from recexplain.evaluation.files import commit, open_folder, write_text
from recexplain.evaluation.people import counted
from recexplain.explainers import Popularity
from recexplain.explanation import STATUSES
from recexplain.report.audit import audit_page
from recexplain.report.parts import people
from recexplain.sequences import Dataset

GATE_FAILED = 3

#: Options on which no row depends: a stopped audit may go on with others.
FREE = (
    *("out", "checkpoint", "data", "histories", "engine", "workers", "spark", "gate", "device"),
    *("users", "quality", "sensitivity", "comparison", "cases", "page"),
)

#: What a checkpoint was trained on, in words.
SPLIT = (
    "the newest item of each history is the test item, the one before it the validation item; the rest was trained on"
)
FOREIGN_SPLIT = "that of RecBole's configuration; this program did not train the model"


def audit(config: DictConfig, out: Path) -> int:
    """Explain everyone, or go on with a stopped audit of the same options in `out`; 3 where a gate is not met."""
    began, bounds = time.monotonic(), checked_gates(plain(config.gate))
    options, engine = _options(config), _engine(config)
    checkpoint = checkpoint_in(config)
    extras = extras_in(config, checkpoint)
    folders = Folders(str(out.resolve() if config.engine == "spark" else out))  # workers of Spark stand elsewhere
    recommender = checkpoint.recommender(config.device)  # weights that do not fit, or no such device, stop here
    this = _audit_of(config, options, engine, checkpoint, folders)
    check_fits(this.job.explainer, recommender)
    identity = _identity(config, checkpoint, this.source)
    with alone(out):
        open_folder(out, "audit", identity)
        counted, n_explained = explained(this)
        seconds = time.monotonic() - began
        study = Study(checkpoint, recommender, this.job.explainer, options, out / "studies")
        counts = counts_of(this, counted, extras, study)
        header = _header(config, checkpoint, identity, counted, counts.tally.everyone.n_people)
        report = report_of(counts, header, k=options.k)
        gates, run = gates_of(bounds, report), _about_the_run(config, seconds, n_explained)
        run |= {"report_seconds": round(time.monotonic() - began - seconds, 3), "comparison_seconds": counts.seconds}
        report |= {"gates": [asdict(gate) for gate in gates], "run": run}
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        write_text(out / "report.json", text)
        if extras.has_page:
            write_text(out / "report.html", audit_page(json.loads(text)))
        tidy(this.folders)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in (*_lines(report), *(gate.sentence for gate in gates)):
        console.print(line)
    return 0 if all(gate.is_passed for gate in gates) else GATE_FAILED


def _audit_of(
    config: DictConfig, options: Options, engine: Engine, checkpoint: AnyCheckpoint, folders: Folders
) -> Audit:
    """Return the audit of a configuration; everything that may be wrong with it is found here."""
    check_known(options, checkpoint.vocabulary)
    is_data = config.histories.path is None
    source = dataset_of(config, checkpoint) if is_data else layout_of(_table(config, checkpoint))
    explainer = explainer_in(config.explainer)
    if isinstance(explainer, Popularity) and explainer.counts is None:
        explainer = Popularity(counted(source if isinstance(source, Dataset) else dataset_of(config, checkpoint)))
    known = frozenset(checkpoint.vocabulary.ids) if config.unknown_items == "drop" else None
    return Audit(
        Job(_recommender_of(config, checkpoint), explainer, options),
        engine,
        source,
        Selection(config.history, known, config.seed),
        folders,
        config.buckets,
        config.limit,
    )


def _options(config: DictConfig) -> Options:
    """Return the options of every person, checked, and with them those of the audit."""
    check_word(config, "history", "full", "test")
    check_word(config, "unknown_items", "error", "drop")
    check_whole(config, {"limit": (1, "or null"), "workers": (0, "or null"), "buckets": (1, None)})
    options: Options = options_in(config)
    return options


def _engine(config: DictConfig) -> Engine:
    if config.engine not in ("local", "spark"):
        raise OptionError(f"engine must be local or spark, not {config.engine!r}")
    if config.engine == "spark":
        for name in ("master", "memory"):
            if config.spark[name] is not None and not isinstance(config.spark[name], str):
                raise OptionError(f"spark.{name} must be a text, or null, not {config.spark[name]!r}")
        return SparkEngine(config.spark.master, config.spark.memory)
    return LocalEngine(cores() if config.workers is None else config.workers)


def _recommender_of(config: DictConfig, checkpoint: AnyCheckpoint) -> FromCheckpoint:
    """Return how every process comes by the recommender; those of Spark stand elsewhere."""
    path = str(Path(str(config.checkpoint)).resolve())
    if isinstance(checkpoint, RecBoleCheckpoint) and checkpoint.ids.path is not None:
        data = str(checkpoint.ids.path.resolve())
        return FromCheckpoint(path, config.device, checkpoint.model_hash, data, checkpoint.data_hash)
    return FromCheckpoint(path, config.device, checkpoint.model_hash)


def _table(config: DictConfig, checkpoint: AnyCheckpoint) -> HistoryTable:
    """Return the configured table of histories; beside it a checkpoint of RecBole may have its data, for the ids."""
    if config.data is not None and not isinstance(checkpoint, RecBoleCheckpoint):
        raise OptionError("data and histories.path are both given; one of them says who is explained")
    values = plain(config.histories)
    for name, value in values.items():
        if name == "columns":
            if value is not None and not (isinstance(value, list) and value and all(isinstance(n, str) for n in value)):
                raise OptionError(f"histories.columns must be a list of names such as [user_id,item_id], not {value!r}")
        elif not isinstance(value, str) and not (value is None and name in ("time_col", "sep")):
            raise OptionError(f"histories.{name} must be a text, not {value!r}")
    if config.engine == "spark":
        values["path"] = str(Path(values["path"]).resolve())
    return HistoryTable(**values | {"columns": None if values["columns"] is None else tuple(values["columns"])})


def _identity(config: DictConfig, checkpoint: AnyCheckpoint, source: Dataset | Layout) -> dict[str, Any]:
    """Return all that decides the rows; an audit of another identity does not go on in the same folder."""
    is_data = isinstance(source, Dataset)
    return {
        **plain(config, without=FREE),
        "table": None if is_data else plain(config.histories, without=("path",)),
        "histories_hash": source.data_hash if isinstance(source, Dataset) else content_hash(source.parts),
        "model_hash": checkpoint.model_hash,
        "data_hash": checkpoint.data_hash,
        "version": version("recexplain"),
    }


def _header(
    config: DictConfig, checkpoint: AnyCheckpoint, identity: Mapping[str, Any], counted: Counted, n_out: int
) -> dict[str, Any]:
    """Return what the report says before any result: about what, about whom, and that nobody is lost."""
    n_items, n_dropped = (sum(getattr(one, name) for one in counted.buckets) for name in ("n_items", "n_dropped"))
    drawn = f"{config.limit} people drawn by sha256 of seed and user" if config.limit is not None else "everyone"
    n_left = counted.n_in_table - counted.n_people
    excluded = [{"reason": f"not drawn: limit={config.limit}", "people": n_left}] if n_left else []
    identity = {"model": dict(checkpoint.model), **{k: v for k, v in identity.items() if k != "buckets"}}
    return {
        "identity": {**identity, "split": FOREIGN_SPLIT if isinstance(checkpoint, RecBoleCheckpoint) else SPLIT},
        "quality": {"trained": dict(checkpoint.metrics)},
        "sample": {
            "drawn": drawn,
            "seed": config.seed,
            "history": config.history,
            "unknown_items": config.unknown_items,
            "people_in_table": counted.n_in_table,
            "people": counted.n_people,
            "excluded": excluded,
        },
        "counts": {
            "people_in": counted.n_people,
            "people_out": n_out,
            "items_in_histories": n_items,
            "unknown_items_left_out": n_dropped,
        },
        "verify": "recexplain verify explanations=<this folder>/explanations checkpoint=<the checkpoint>",
    }


def _about_the_run(config: DictConfig, seconds: float, n_explained: int) -> dict[str, Any]:
    """Return what differs between runs with the same rows."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "engine": config.engine,
        "workers": config.workers,
        "cores": cores(),
        "buckets": config.buckets,
        "commit": commit(),
        "seconds": round(seconds, 3),
        "explained_in_this_run": n_explained,
        "people_a_minute": round(60 * n_explained / seconds, 1),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def _lines(report: Mapping[str, Any]) -> list[str]:
    """Return what an audit came to, for the terminal."""
    outcomes, counts = report["outcomes"], report["counts"]
    found, run = outcomes["explained"], report["run"]
    statuses = [f"{name} {outcomes['statuses'][name]['n']:,}" for name in STATUSES if outcomes["statuses"][name]["n"]]
    lines = [f"{people(counts['people_in'])} in, {counts['people_out']:,} out: {', '.join(statuses)}"]
    if found["n"]:
        lines.append(
            f"explained {found['share']:.1%} ({found['low']:.1%} to {found['high']:.1%}), items removed "
            f"{outcomes['size']['mean']:.2f}, random sets that do as well {outcomes['null_rate']['mean']:.1%}"
        )
    flags = [f"{one['name']} {one['n_flags']}" for one in report["slices"]["dimensions"] if one["n_flags"]]
    if flags:
        lines.append(f"flagged gaps between groups: {', '.join(flags)}")
    lines += [f"  error of {people(one['people'])}: {one['reason']}" for one in report["errors"][:5]]
    return [*lines, f"{run['explained_in_this_run']:,} of them in this run, {run['seconds']:.0f} s"]
