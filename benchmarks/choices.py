"""What each choice behind the causal graph brings, on the same people, for `top1` and `leaves`; as a Markdown table.

    python benchmarks/choices.py checkpoint=outputs/ml1m-50/checkpoint.ckpt people=200

The variants are those of conf/experiment/graph_choices.yaml whose kind is named (`explainers=cleann,causal`), with
`only=n_samples 256,centred` the defaults and these alone. `causal` with its defaults always takes part, so that a small
set is known for everyone. `smallest` is the share of all people for whom no line of the table has a smaller set, `gap`
how much larger a found set is than the smallest of any line, in the mean. A graph is learnt once a person and searched
for both changes; milliseconds are the processor's, of graph and search together. `slow=` people, the first of those
drawn, have to do for the variants that the experiment limits; `least=200` draws from people with so long a history.
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from search import searched

import recexplain
from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Options, ask
from recexplain.errors import RecExplainError
from recexplain.evaluation.config import recorded_source
from recexplain.explainers import Causal, Cleann, explainer_of
from recexplain.recommender import Recommender
from recexplain.sequences import load_dataset

EXPERIMENT = Path(recexplain.__file__).parents[1] / "conf" / "experiment" / "graph_choices.yaml"
CHANGES = ("top1", "leaves")
GIVEN = {"people": "200", "slow": "20", "seed": "0", "budget": "2000", "k": "10", "least": "0"}
GIVEN |= {"explainers": "cleann", "only": ""}


@dataclass(frozen=True)
class Found:
    """What one variant came to for one person and change."""

    size: float  # of the set; infinity: none was found
    evaluations: int
    milliseconds: float  # of the processor, with the graph


def main(words: Sequence[str]) -> None:
    """Print the table."""
    given = GIVEN | dict(word.split("=", 1) for word in words)
    checkpoint = read_checkpoint(given["checkpoint"])
    recommender, histories = checkpoint.recommender(), load_dataset(recorded_source(checkpoint.source)).histories
    drawn = np.random.default_rng(int(given["seed"])).permutation(len(histories))
    long = [histories[int(row)].astype(np.int64) for row in drawn if len(histories[int(row)]) >= int(given["least"])]
    people = long[: int(given["people"])]
    print(f"{len(people)} people, window {recommender.max_length}, budget {given['budget']}, seed {given['seed']}\n")
    found: dict[str, list[tuple[Found, ...]]] = {}
    for label, explainer, is_slow in variants(given):
        some = people[: int(given["slow"])] if is_slow else people
        found[label] = [both(recommender, history, explainer, given) for history in some]
        print(f"{label}: {np.mean([one[0].milliseconds for one in found[label]]):.0f} ms", file=sys.stderr, flush=True)
    print_table(found)


def variants(given: Mapping[str, str]) -> Iterator[tuple[str, Causal | Cleann, bool]]:
    """Yield label, explainer and whether few people must do; `causal` first."""
    experiment, only = OmegaConf.load(EXPERIMENT), given["only"].split(",")
    for label, part in experiment.explainers.items():
        kind, choice = label.split()[0], label.partition(" ")[2]
        is_asked = kind in given["explainers"].split(",") and (only == [""] or not choice or choice in only)
        if label == "causal" or is_asked:
            explainer = explainer_of(part) if isinstance(part, str) else instantiate(part)
            yield label, explainer, label in experiment.limits


def both(
    recommender: Recommender, history: np.ndarray, explainer: Causal | Cleann, given: Mapping[str, str]
) -> tuple[Found, ...]:
    """Return what is found for both changes; whoever cannot be explained counts as not found."""
    options = [Options(change, int(given["k"]), max_evaluations=int(given["budget"])) for change in CHANGES]
    began = time.process_time()
    try:
        graphs = explainer.graphs(recommender, ask(recommender, history, options[0]))
        seconds = time.process_time() - began
        runs = [searched(recommender, history, explainer, one, graphs) for one in options]
    except RecExplainError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return tuple(Found(np.inf, 0, 1e3 * (time.process_time() - began)) for _ in CHANGES)
    return tuple(Found(run.size or np.inf, run.evaluations, 1e3 * (seconds + run.seconds)) for run in runs)


def print_table(found: Mapping[str, Sequence[tuple[Found, ...]]]) -> None:
    """Print one line a variant; those of few people once more with the defaults on the same people."""
    lines = dict(found)
    n_people = len(found["causal"])
    for n_few in sorted({len(runs) for runs in found.values()} - {n_people}):
        lines |= {f"{label}, those {n_few}": found[label][:n_few] for label in ("causal", "cleann") if label in found}
    smallest = [
        [min(runs[at][change].size for runs in found.values() if at < len(runs)) for change in range(len(CHANGES))]
        for at in range(n_people)
    ]
    cells = " | ".join(f"{change}: found | smallest | size | gap | evaluations | ms" for change in CHANGES)
    print(f"| variant | people | {cells} |\n|---|---:|{'---:|' * 6 * len(CHANGES)}")
    for label, runs in lines.items():
        parts = [line_of([one[c] for one in runs], [known[c] for known in smallest]) for c in range(len(CHANGES))]
        print(f"| {label} | {len(runs)} | {' | '.join(parts)} |")


def line_of(runs: Sequence[Found], smallest: Sequence[float]) -> str:
    """Return the cells of one variant and change; `smallest` is a number a person, perhaps of more people."""
    sizes = [run.size for run in runs if np.isfinite(run.size)]
    gaps = [run.size - known for run, known in zip(runs, smallest, strict=False) if np.isfinite(run.size)]
    shares = f"{len(sizes) / len(runs):.1%} | {gaps.count(0) / len(runs):.1%}"
    means = f"{np.mean(sizes or [np.nan]):.2f} | {np.mean(gaps or [np.nan]):.2f}"
    evaluations, milliseconds = np.mean([(run.evaluations, run.milliseconds) for run in runs], axis=0)
    return f"{shares} | {means} | {evaluations:,.0f} | {milliseconds:.0f}"


if __name__ == "__main__":
    main(sys.argv[1:])
