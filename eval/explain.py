"""The entry `recexplain explain`: a checkpoint and people -> explanations, pages, a summary."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recexplain.checkpoint import Checkpoint, read_checkpoint
from recexplain.counterfactual import Options
from recexplain.errors import CheckpointError, DataError, OptionError, is_whole
from recexplain.evaluation.config import plain, recorded_source, source_of
from recexplain.evaluation.files import open_folder, write_bytes, write_text
from recexplain.evaluation.summary import shown_sentences, summary_table
from recexplain.explainers.driver import Case, Explainer, Person, Timing, explain_cases
from recexplain.explanation import Explanation
from recexplain.report.page import index_page, picture_of, user_page
from recexplain.schema import jsonl_text, parquet_bytes, read_explanations
from recexplain.sequences import Dataset, load_dataset

FILES = ("explanations.parquet", "explanations.jsonl", "timings.parquet", "index.html")


def explain(config: DictConfig, out: Path) -> None:
    """Explain people of the data; a stopped run of the same options in `out` goes on."""
    options, explainer = _options(config), instantiate(config.explainer)
    checkpoint = read_checkpoint(str(config.checkpoint))
    recommender = checkpoint.recommender(config.device)
    people = _people(config, _dataset(config, checkpoint), checkpoint)
    title_of, console = checkpoint.vocabulary.title_of, Console()
    open_folder(out, "explain", {**plain(config), "model_hash": checkpoint.model_hash})
    if all((out / name).exists() for name in FILES):
        console.print(f"{out} is finished already")
    else:
        journal = _Journal(out)
        done = len(journal.explanations)
        cases = explain_cases(recommender, people[done:], explainer, options)
        for number, case in enumerate(_shown(cases, len(people), done), start=done + 1):
            if number <= config.pages:
                write_pages(out, number, case, title_of, explainer)
            journal.add(case)
        _finish(out, journal, title_of, config.pages)
    explanations = read_explanations(out / "explanations.parquet")
    for line in shown_sentences(explanations, title_of):
        console.print(line)
    console.print(summary_table(explanations, pq.read_table(out / "timings.parquet")["total_s"].to_numpy()))


class _Journal:
    """What is done so far, on disk line by line, so that a stopped run goes on after the last whole person."""

    def __init__(self, out: Path) -> None:
        self.path = out / "journal.jsonl"
        self.explanations: list[Explanation] = []
        self.timings: list[Timing] = []
        *whole, _ = self._text().split("\n")  # an id may hold what `splitlines` takes for a line's end
        for line in whole:
            try:
                row = json.loads(line)
                self._hold(Explanation.from_dict(row["explanation"]), Timing(**row["timing"]))
            except (ValueError, KeyError, TypeError):
                raise DataError(f"{self.path} is damaged; choose another folder with out=") from None
        if whole or self.path.exists():
            write_text(self.path, "".join(line + "\n" for line in whole))  # without the line that was cut off

    def add(self, case: Case) -> None:
        """Write one more person."""
        row = {"explanation": case.explanation.to_dict(), "timing": asdict(case.timing)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._hold(case.explanation, case.timing)

    def _hold(self, explanation: Explanation, timing: Timing) -> None:
        self.explanations.append(explanation)
        self.timings.append(timing)

    def _text(self) -> str:
        content = self.path.read_bytes() if self.path.exists() else b""
        return content[: content.rfind(b"\n") + 1].decode()  # the cut may fall into a character


def write_pages(out: Path, number: int, case: Case, title_of: Callable[[str], str], explainer: Explainer) -> None:
    """Write the page of one person, and the picture of the graph where there is one, also on its own."""
    picture, note = None, ""
    if case.graphs:
        graph = case.graphs[case.head]
        picture = picture_of(case.explanation, graph, title_of)
        settings = ", ".join(f"{name} {value}" for name, value in vars(explainer).items())
        note = f"Graph of attention head {case.head + 1} of {len(case.graphs)}, deepest layer; {settings}."
        write_bytes(out / "users" / f"{number}.png", picture)
    page = user_page(case.explanation, title_of, picture=picture, note=note)
    write_text(out / "users" / f"{number}.html", page)


def _finish(out: Path, journal: _Journal, title_of: Callable[[str], str], pages: int) -> None:
    """Write the files of a whole run, and drop the journal."""
    links = [f"users/{n}.html" if n <= pages else "" for n in range(1, len(journal.explanations) + 1)]
    rows = list(zip(journal.explanations, links, strict=True))
    write_text(out / "explanations.jsonl", jsonl_text(journal.explanations))
    write_bytes(out / "explanations.parquet", parquet_bytes(journal.explanations))
    write_bytes(out / "timings.parquet", _timings(journal))
    write_text(out / "index.html", index_page(rows, title_of, heading="Why these recommendations"))
    journal.path.unlink(missing_ok=True)


def _timings(journal: _Journal) -> bytes:
    """Return the content of `timings.parquet`: user, graph_s, search_s, total_s."""
    rows = [
        {"user": explanation.user, **asdict(timing)}
        for explanation, timing in zip(journal.explanations, journal.timings, strict=True)
    ]
    seconds = [pa.field(name, pa.float64(), nullable=False) for name in ("graph_s", "search_s", "total_s")]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema([pa.field("user", pa.string()), *seconds])), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _options(config: DictConfig) -> Options:
    """Return the options of every person, checked."""
    if config.history not in ("full", "test"):
        raise OptionError(f"history must be full or test, not {config.history!r}")
    for name, least in (("limit", 1), ("pages", 0)):
        value = config[name]
        if not is_whole(value, least) and (name, value) != ("limit", None):
            raise OptionError(f"{name} must be a whole number of {least} or more, not {value!r}")
    return Options(
        change=config.change,
        k=config.k,
        removal=config.removal,
        max_evaluations=config.max_evaluations,
        max_seconds=config.max_seconds,
        seed=config.seed,
    )


def _dataset(config: DictConfig, checkpoint: Checkpoint) -> Dataset:
    """Return the data to explain: what the checkpoint was trained on, found again by its hash."""
    if config.data is None:
        try:
            dataset = load_dataset(recorded_source(checkpoint.source))
        except DataError as error:
            raise CheckpointError(f"the checkpoint's data cannot be read: {error}; give it with data=") from None
    else:
        dataset = load_dataset(source_of(config.data))
    if dataset.data_hash != checkpoint.data_hash:
        raise CheckpointError(
            f"the data (hash {dataset.data_hash[:12]}) is not what {config.checkpoint} was trained on "
            f"(hash {checkpoint.data_hash[:12]}); give the same ratings, or train on these"
        )
    return dataset


def _people(config: DictConfig, dataset: Dataset, checkpoint: Checkpoint) -> list[Person]:
    """Return who is explained, in the order asked for, with their histories as the user's own ids."""
    if isinstance(config.users, ListConfig):
        rows: Sequence[int] = [dataset.histories.row_of(user) for user in config.users]
    elif config.users == "all":
        rows = range(len(dataset.histories))
    else:
        rows = [dataset.histories.row_of(config.users)]
    if not rows:
        raise OptionError("users is empty; allowed are all, or a list of user ids such as users=[1,2]")
    if config.target is not None:
        checkpoint.vocabulary.number_of(config.target)  # an unknown item stops here
    ids = checkpoint.vocabulary.ids
    people = []
    for row in rows[: config.limit]:
        history = dataset.histories[row][: -1 if config.history == "test" else None]
        people.append(Person(dataset.histories.users[row], [ids[item - 1] for item in history], config.target))
    return people


def _shown(cases: Iterable[Case], total: int, done: int) -> Iterator[Case]:
    """Pass cases on, with a progress bar."""
    columns = (TextColumn("explaining"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        task = progress.add_task("explaining", total=total, completed=done)
        for case in cases:
            yield case
            progress.advance(task)
