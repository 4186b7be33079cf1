"""How well and how fast each explainer finds small sets, on the same people, model and question; as Markdown tables.

    python benchmarks/search.py checkpoint=outputs/ml-100k/checkpoint.ckpt change=leaves people=200
    python benchmarks/search.py checkpoint=outputs/demo/checkpoint.ckpt experiment=graph_choices explainers=cleann
    python benchmarks/search.py checkpoint=... change=top1 explainers=causal budgets=2000,25000,300000 max_sets=300000
    python benchmarks/search.py checkpoint=... explainers=causal max_seconds=0.5

Every explainer has the same budgets in evaluations. Milliseconds are the processor's, of one person at a time, without
the random sets: with OMP_NUM_THREADS=1 what the clock shows where nothing else runs. With `clock=wall` they are the
clock's, with all threads. A person for whom nothing is found counts as all items that the model saw in `size, all`.
With `max_seconds` the budget is in seconds, here of the processor too; `2 closed`: every set of up to two items was
tested, or the smallest set is proven. `first_sets=no` leaves out the first table.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import networkx as nx
import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

import recexplain
from recexplain.checkpoint import Checkpoint, read_checkpoint
from recexplain.counterfactual import Candidate, Options, Question, ask
from recexplain.errors import RecExplainError
from recexplain.evaluation.config import recorded_source
from recexplain.explainers import EXPLAINERS, Causal, Explainer, Popularity, driver, explainer_of
from recexplain.explainers.baselines import Attention
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import GraphExplainer, explain_case
from recexplain.recommender import Recommender, id_of
from recexplain.search import Result
from recexplain.sequences import Dataset, load_dataset
from recexplain.steps import sets_by_rank
from recexplain.verdicts import measured, measured_alone

BUDGETS = "50,100,500,2000"
ROWS = 1024
CLOCKS = {"processor": time.process_time, "wall": time.perf_counter}
HEADER = (
    "| explainer | budget | found | size, found | size, all | optimal | irreducible | evaluations "
    "| ms p50 | ms p95 | ms mean "
)
RULE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"


@dataclass(frozen=True)
class Run:
    """One explainer, one person, one budget."""

    size: int  # of what was found; 0: nothing
    status: str
    proven_size: int
    n_seen: int
    evaluations: int
    seconds: float


def main(words: Sequence[str]) -> None:
    """Print the tables."""
    given = {"change": "leaves", "people": "200", "k": "10", "seed": "0", "budgets": BUDGETS, "first_sets": "yes"}
    given |= {"clock": "processor", **dict(word.split("=", 1) for word in words)}
    checkpoint = read_checkpoint(given["checkpoint"])
    dataset = load_dataset(recorded_source(checkpoint.source))
    recommender = checkpoint.recommender()
    chosen = np.random.default_rng(int(given["seed"])).permutation(len(dataset.histories))[: int(given["people"])]
    histories = [dataset.histories[int(row)].astype(np.int64) for row in sorted(chosen)]
    print(f"{len(histories)} people, change={given['change']}, k={given['k']}, window {recommender.max_length}\n")
    options = Options(given["change"], int(given["k"]), seed=int(given["seed"]))
    if given["first_sets"] == "yes":
        print(first_sets(recommender, histories, options), flush=True)
    explainers, now = compared(given, counted(dataset, checkpoint)), CLOCKS[given["clock"]]
    if "max_seconds" in given:
        in_seconds(recommender, histories, explainers, replace(options, max_seconds=float(given["max_seconds"])))
        return
    print(HEADER + "|\n" + RULE)
    for name, explainer in explainers.items():
        for budget in map(int, given["budgets"].split(",")):
            limited = replace(options, max_evaluations=budget)
            runs = [searched(recommender, history, explainer, limited, now=now) for history in histories]
            print(row_of(f"{name} | {budget:,}", runs), flush=True)


def in_seconds(
    recommender: Recommender, histories: Sequence[np.ndarray], explainers: Mapping[str, Explainer], options: Options
) -> None:
    """Print the table of a budget in seconds, which is the driver's to keep: it is given the processor's clock."""
    driver.time = SimpleNamespace(perf_counter=time.process_time)
    print(HEADER + "| 2 closed | ms most |\n" + RULE + "---:|---:|")
    for name, explainer in explainers.items():
        runs = [driven(recommender, history, explainer, options) for history in histories]
        closed = np.mean([run.status == "optimal" or run.proven_size >= 2 for run in runs])
        most = 1e3 * max(run.seconds for run in runs)
        print(row_of(f"{name} | {options.max_seconds} s", runs) + f" {closed:.1%} | {most:.0f} |", flush=True)


def compared(given: Mapping[str, str], counts: Mapping[str, int]) -> dict[str, Explainer]:
    """Return the explainers of a run by their labels: those named, or the variants of an experiment."""
    if "experiment" in given:
        path = Path(recexplain.__file__).parents[1] / "conf" / "experiment" / f"{given['experiment']}.yaml"
        parts = OmegaConf.load(path).explainers
        kinds = given.get("explainers", "").split(",")
        parts = {label: part for label, part in parts.items() if label.split()[0] in kinds or kinds == [""]}
        return {
            label: explainer_of(part) if isinstance(part, str) else instantiate(part) for label, part in parts.items()
        }
    names = given.get("explainers", ",".join(EXPLAINERS)).split(",")
    found = {name: Popularity(counts) if name == "popularity" else explainer_of(name) for name in names}
    return found | ({"causal": Causal(max_sets=int(given["max_sets"]))} if "max_sets" in given else {})


def searched(
    recommender: Recommender,
    history: np.ndarray,
    explainer: Explainer,
    options: Options,
    graphs: Sequence[nx.DiGraph] | None = None,
    *,
    now: Callable[[], float] = time.process_time,
) -> Run:
    """Run one search, a person at a time, with these graphs or, where None are given, its own."""
    began = now()
    question = ask(recommender, history, options, user=str(history[:3]))
    if graphs is None:
        graphs = explainer.graphs(recommender, question) if isinstance(explainer, GraphExplainer) else ()
    search, n_tested = explainer.search(recommender, question, graphs), 0
    try:
        request = next(search)
        while True:
            if request.again:
                gaps = measured_alone(recommender, [(question, c) for c in request.candidates]).tolist()
            else:
                assert options.max_evaluations is not None
                part = request.candidates[: options.max_evaluations - n_tested]
                gaps = gaps_of(recommender, question, part)
                n_tested += len(part)
            request = search.send(gaps)
    except StopIteration as stopped:
        result: Result = stopped.value
        seconds = now() - began
        size = len(result.candidate or ())
        return Run(size, result.status, result.proven_size, len(question.visible), n_tested, seconds)


def driven(recommender: Recommender, history: np.ndarray, explainer: Explainer, options: Options) -> Run:
    """Run one search through the driver, a person at a time; what comes after the search is not in its seconds."""
    ids = [id_of(recommender, int(item)) for item in history]
    case = explain_case(recommender, Person(str(history[:3]), ids), explainer, options)
    found, n_seen = case.explanation, len(history) - case.explanation.n_unseen
    seconds = case.timing.graph_s + case.timing.search_s
    return Run(len(found.positions), found.status, found.proven_size, n_seen, found.evaluations, seconds)


def gaps_of(recommender: Recommender, question: Question, candidates: Sequence[Candidate]) -> list[float]:
    """Return the gaps of candidates, in batches."""
    parts = [candidates[start : start + ROWS] for start in range(0, len(candidates), ROWS)]
    return [gap for part in parts for gap in measured(recommender, [(question, c) for c in part]).tolist()]


def row_of(label: str, runs: Sequence[Run]) -> str:
    """Return one line of the table."""
    sizes = [run.size for run in runs if run.size]
    everyone = [run.size or run.n_seen for run in runs]
    optimal, irreducible = (np.mean([run.status == name for run in runs]) for name in ("optimal", "irreducible"))
    milliseconds = [1e3 * run.seconds for run in runs]
    p50, p95 = np.percentile(milliseconds, [50, 95])
    return (
        f"| {label} | {len(sizes) / len(runs):.1%} | {np.mean(sizes or [np.nan]):.2f} | "
        f"{np.mean(everyone):.2f} | {optimal:.1%} | {irreducible:.1%} | "
        f"{np.mean([run.evaluations for run in runs]):,.0f} | {p50:.0f} | {p95:.0f} | {np.mean(milliseconds):.0f} |"
    )


def first_sets(recommender: Recommender, histories: Iterable[np.ndarray], options: Options) -> str:
    """Return a table of evaluations to the first verified set, smallest sets first, by the order inside a size.

    Of people for whom one or two items are enough. `then effects`: pairs come in the order of the measured effects of
    their items, for which all single items were tested.
    """
    counts: dict[str, list[int]] = {}
    sizes: list[int] = []
    for history in histories:
        try:
            question = ask(recommender, history, options, user=str(history[:3]))
        except RecExplainError:
            continue
        sets = [c for size in (1, 2) for c in combinations(question.removable, size) if size <= question.most]
        gaps = dict(zip(sets, gaps_of(recommender, question, sets), strict=True))
        if max(gaps.values()) <= 0:
            continue
        changing = {candidate for candidate, gap in gaps.items() if gap > 0}
        sizes.append(min(map(len, changing)))
        effects = sorted(question.removable, key=lambda p: -gaps[p,])
        for name, order in orders(recommender, question).items():
            for label, second in ((name, order), (f"{name}, then effects", effects)):
                counts.setdefault(label, []).append(first_hit(order, second, changing))
    lines = [
        f"Evaluations to the first verified set; {len(sizes)} people ({sizes.count(1)} need one item, the rest two)",
        "",
    ]
    lines += ["| order | mean | median | p95 | mean where two are needed |", "|---|---:|---:|---:|---:|"]
    for label, found in counts.items():
        pairs = [n for n, size in zip(found, sizes, strict=True) if size == 2]
        p50, p95 = np.percentile(found, [50, 95])
        lines.append(f"| {label} | {np.mean(found):.1f} | {p50:.0f} | {p95:.0f} | {np.mean(pairs or [np.nan]):.1f} |")
    return "\n".join([*lines, ""])


def orders(recommender: Recommender, question: Question) -> dict[str, list[int]]:
    """Return the orders of single items that are compared."""
    causal = Causal()
    return {
        "causal distance": causal.nearest_first(question, causal.graphs(recommender, question)),
        "newest first": sorted(question.removable, reverse=True),
        "attention": Attention().order(recommender, question),
        "oldest first (occlusion)": list(question.removable),
        "random": question.rng("random").permutation(np.array(question.removable)).tolist(),
    }


def first_hit(first: Sequence[int], second: Sequence[int], changing: set[Candidate]) -> int:
    """Return the number of the first single item, or else pair, that changes the answer, from 1."""
    for number, position in enumerate(first, start=1):
        if (position,) in changing:
            return number
    return len(first) + next(number for number, pair in enumerate(sets_by_rank(second, 2), start=1) if pair in changing)


def counted(dataset: Dataset, checkpoint: Checkpoint) -> dict[str, int]:
    """Return how often each item was taken."""
    counts = np.bincount(dataset.histories.items, minlength=dataset.vocabulary.n_items + 1)
    return dict(zip(checkpoint.vocabulary.ids, counts[1:].tolist(), strict=True))


if __name__ == "__main__":
    main(sys.argv[1:])
