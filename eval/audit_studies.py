"""What is measured of a sample of people besides their explanations: how well the model ranks, how other methods do.

The sample is that of the report: the people with the smallest hashes of seed and user. What is done is kept in the
folder of the audit, line by line, and not done again; a larger sample goes on where a smaller one ended.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from recexplain.adapters.recbole import RecBoleRecommender
from recexplain.counterfactual import Options
from recexplain.errors import DataError
from recexplain.evaluation.audit_drawn import Drawn
from recexplain.evaluation.audit_groups import Group, K, mean_of, share
from recexplain.evaluation.config import AnyCheckpoint
from recexplain.evaluation.contestants import contestants
from recexplain.evaluation.journal import Journal, damaged
from recexplain.evaluation.measure import Measured
from recexplain.evaluation.progress import shown
from recexplain.evaluation.ranking import held_out_ranks
from recexplain.evaluation.scoreboard import Contest, board_of, values_of
from recexplain.evaluation.trials import MAIN, Trial, Work
from recexplain.explainers import Explainer
from recexplain.explainers.cases import Person
from recexplain.models.network import NetworkRecommender
from recexplain.recommender import asked_for, needs_user
from recexplain.robustness import Remembered

RESAMPLES = 1_000  # of the people, for the intervals of the comparison


@dataclass(frozen=True, eq=False)
class Study:
    """Who asks whom what, and where the answers are kept."""

    checkpoint: AnyCheckpoint
    recommender: NetworkRecommender | RecBoleRecommender
    explainer: Explainer
    options: Options
    folder: Path

    def work(self, label: str, explainer: Explainer, trial: Trial) -> Work:
        """Return a trial of one explainer, as far as it is done."""
        return Work(label, explainer, trial, trial.people, Journal(self.folder / f"{trial.name}.{label}.jsonl"))


def person_of(drawn: Drawn) -> Person:
    """Return who was drawn."""
    return Person(drawn.row["user"], drawn.row["history"])


def drawn_words(n_people: int) -> str:
    """Return in words how a sample is drawn."""
    return f"{n_people:,} people, those with the smallest sha256 of seed and user"


def carried_out(work: Sequence[Work], doing: str) -> None:
    """Do what is left of some work, with a progress bar where there is any."""
    n_done, n_all = sum(min(len(one.journal), len(one.people)) for one in work), sum(len(one.people) for one in work)
    if n_done < n_all:
        for _ in shown(chain.from_iterable(one.steps() for one in work), n_all, doing, done=n_done):
            pass


def newest_ranks(study: Study, people: Sequence[Drawn]) -> list[tuple[Drawn, int]]:
    """Return the rank of each person's newest item after the items before it, over the whole catalogue.

    Left out are people without an explanation by an error, and those with fewer than two items.
    """
    ranked = [one for one in people if one.row["status"] != "error" and len(one.row["history"]) > 1]
    histories = [person_of(one).numbers(study.recommender) for one in ranked]
    if needs_user(study.recommender):
        asked = [asked_for(study.recommender, one.row["user"]) for one in ranked]
        ranks = [int(held_out_ranks(one, [history])[0]) for one, history in zip(asked, histories, strict=True)]
    else:
        ranks = held_out_ranks(study.recommender, histories).tolist()
    return list(zip(ranked, ranks, strict=True))


def quality_of(ranks: Counter[int], *, n_drawn: int, history: str) -> dict[str, Any]:
    """Return what ranks of newest items come to: NDCG and hit rate at `K`, and MRR."""
    of = "newest item" if history == "full" else "newest item but one, for the newest is left out of histories here,"
    return {
        "about": f"How the model ranks the {of} of a person among all items of the catalogue, from the items before "
        "it. Items seen before are no candidates.",
        "drawn": drawn_words(n_drawn),
        "k": K,
        "people": ranks.total(),
        "ndcg": mean_of(Group(ranks=ranks).gains),
        "hit_rate": share(sum(n for rank, n in ranks.items() if rank <= K), ranks.total()),
        "mrr": mean_of({1 / rank: n for rank, n in ranks.items()}),
    }


def comparison(
    study: Study, people: Sequence[Drawn], names: Sequence[str], taken: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Return the scoreboard of other explainers beside the audit's own, and the seconds a person (p50, p95) of each.

    Everyone is asked the same question of the same people with the same budget; `recexplain evaluate` does the same.
    """
    others = contestants(OmegaConf.create(list(names) or ["random"]), taken)
    explainers = {study.explainer.name: study.explainer}
    explainers |= {name: other for name, other in others.items() if name not in explainers}
    trial = Trial(MAIN, study.recommender, [person_of(one) for one in people], study.options, robust=Remembered())
    work = [study.work(label, explainer, trial) for label, explainer in explainers.items()]
    carried_out(work, "comparing methods")
    contests = [Contest(one.label, one.explainer, _measured(one), {}) for one in work]
    values = values_of(contests, len(people))
    board = board_of(contests, values, _settings(study), n_resamples=RESAMPLES, seed=study.options.seed)
    seconds = {
        one.label: [round(float(s), 3) for s in np.percentile([m.timing.total_s for m in one.measured], [50, 95])]
        for one in contests
    }
    return {"people": len(people), "drawn": drawn_words(len(people)), "board": board.to_dict()}, seconds


def _measured(work: Work) -> list[Measured]:
    try:
        return [Measured.from_dict(row) for row in work.journal.rows[: len(work.people)]]
    except (DataError, KeyError, TypeError):
        raise damaged(work.journal.path) from None


def _settings(study: Study) -> list[tuple[str, str]]:
    """Return the question in words, for the scoreboard."""
    options = study.options
    asked = {
        "change": options.change,
        "k": options.k,
        "removal": options.removal,
        "max_evaluations": options.max_evaluations,
        "seed": options.seed,
    }
    return [(name, str(value)) for name, value in asked.items()]
