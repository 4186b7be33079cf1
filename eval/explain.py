"""The entry `recexplain explain`: a checkpoint and people -> explanations, pages, a summary."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from omegaconf import DictConfig
from rich.console import Console

from recexplain.errors import DataError
from recexplain.evaluation.asked import check_fits, check_known, check_whole, options_in
from recexplain.evaluation.config import checkpoint_in, dataset_of, explainer_in, id_in, plain
from recexplain.evaluation.files import open_folder, write_bytes, write_text
from recexplain.evaluation.people import counted, people_in
from recexplain.evaluation.progress import shown
from recexplain.evaluation.summary import shown_sentences, summary_table
from recexplain.explainers import Causal, Popularity
from recexplain.explainers.driver import Case, Explainer, Timing, explain_cases
from recexplain.explainers.graphs import GraphOptions
from recexplain.explanation import Explanation
from recexplain.report.page import index_page, picture_of, user_page
from recexplain.schema import jsonl_text, parquet_bytes, read_explanations
from recexplain.vocabulary import Vocabulary

FILES = ("explanations.parquet", "explanations.jsonl", "timings.parquet", "index.html")


def explain(config: DictConfig, out: Path) -> None:
    """Explain people of the data; a stopped run of the same options in `out` goes on."""
    check_whole(config, {"limit": (1, ""), "pages": (0, None)})
    options, explainer = options_in(config), explainer_in(config.explainer)
    checkpoint = checkpoint_in(config)
    recommender, dataset = checkpoint.recommender(config.device), dataset_of(config, checkpoint)
    vocabulary = checkpoint.vocabulary
    people = people_in(config, dataset, drawn=False, target=_target(config, vocabulary))
    check_known(options, vocabulary)
    check_fits(explainer, recommender)
    if isinstance(explainer, Popularity) and explainer.counts is None:
        explainer = Popularity(counted(dataset))
    title_of, console = vocabulary.title_of, Console()
    compared = plain(config, without=("out", "checkpoint"))  # the model counts, not where it lies
    open_folder(out, "explain", {**compared, "model_hash": recommender.model_hash})
    if all((out / name).exists() for name in FILES):
        console.print(f"{out} is finished already")
    else:
        journal = _Journal(out)
        done = len(journal.explanations)
        cases = explain_cases(recommender, people[done:], explainer, options)
        for number, case in enumerate(shown(cases, len(people), "explaining", done=done), start=done + 1):
            if number <= config.pages:
                write_pages(out, number, case, title_of, explainer)
            journal.add(case)
        _finish(out, journal, title_of, config.pages)
    explanations = read_explanations(out / "explanations.parquet")
    for line in shown_sentences(explanations, title_of):
        console.print(line)
    console.print(summary_table(explanations, _total_seconds(out / "timings.parquet")))


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
        named = explainer.name_of(case.head, len(case.graphs)) if isinstance(explainer, GraphOptions) else "attention"
        note = f"Graph of {named}; {settings}."
    elif isinstance(explainer, Causal) and case.explanation.status != "error":
        note = "This recommender shows no attention, so there is no graph: items were tried newest first."
    if picture is not None:
        write_bytes(out / "users" / f"{number}.png", picture)
    page = user_page(case.explanation, title_of, picture=picture, note=note)
    write_text(out / "users" / f"{number}.html", page)


def _finish(out: Path, journal: _Journal, title_of: Callable[[str], str], pages: int) -> None:
    """Write the files of a whole run, and drop the journal."""
    links = [f"users/{n}.html" if n <= pages else "" for n in range(1, len(journal.explanations) + 1)]
    rows = list(zip(journal.explanations, links, strict=True))
    by_user = sorted(range(len(rows)), key=lambda row: str(journal.explanations[row].user))
    explanations = [journal.explanations[row] for row in by_user]  # in one order, whatever that of the people was
    write_text(out / "explanations.jsonl", jsonl_text(explanations))
    write_bytes(out / "explanations.parquet", parquet_bytes(explanations))
    write_bytes(out / "timings.parquet", _timings(explanations, [journal.timings[row] for row in by_user]))
    write_text(out / "index.html", index_page(rows, title_of, heading="Why these recommendations"))
    journal.path.unlink(missing_ok=True)


def _timings(explanations: Sequence[Explanation], timings: Sequence[Timing]) -> bytes:
    """Return the content of `timings.parquet`: user, graph_s, search_s, total_s."""
    rows = [
        {"user": explanation.user, **asdict(timing)} for explanation, timing in zip(explanations, timings, strict=True)
    ]
    seconds = [pa.field(name, pa.float64(), nullable=False) for name in ("graph_s", "search_s", "total_s")]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema([pa.field("user", pa.string()), *seconds])), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _total_seconds(path: Path) -> np.ndarray:
    """(people,) seconds; `DataError` where the file is not as it was written."""
    try:
        seconds: np.ndarray = pq.read_table(path)["total_s"].to_numpy()
    except (pa.ArrowException, KeyError, OSError):
        raise DataError(f"{path} is damaged; choose another folder with out=") from None
    return seconds


def _target(config: DictConfig, vocabulary: Vocabulary) -> str | None:
    """Return the recommended item that is to be explained; None: everyone's first."""
    target = None if config.target is None else id_in("target", config.target)
    if target is not None:
        vocabulary.number_of(target)  # an unknown item stops here
    return target
