"""The retraining check: whether the answer is another had the model never seen what an explanation names."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.console import Console

from recexplain.checkpoint import Checkpoint
from recexplain.counterfactual import Options, Question, ask
from recexplain.errors import OptionError
from recexplain.evaluation.bootstrap import interval, means, resampled
from recexplain.evaluation.journal import Journal
from recexplain.evaluation.metrics import mcnemar
from recexplain.explanation import Explanation
from recexplain.recommender import Recommender, checked_scores, number_of, top_items
from recexplain.report.board import Pair, Retrained, Retraining
from recexplain.sequences import Histories, Split, leave_one_out

NOTHING = ""  # the label of trainings with nothing taken out

Found = Mapping[str, Mapping[str, Explanation]]  # label -> user -> what it found


@dataclass(frozen=True)
class Plan:
    """Whose sets are taken out, how often, and by whom they were found."""

    users: tuple[str, ...]  # for each of whom every label found a set
    labels: tuple[str, ...]
    seeds: tuple[int, ...]  # of the trainings
    group: int  # people whose sets are taken out together

    @property
    def trainings(self) -> list["Training"]:
        """All trainings, those with nothing taken out first."""
        groups = [self.users[start : start + self.group] for start in range(0, len(self.users), self.group)]
        whole = [Training(NOTHING, self.users, seed) for seed in self.seeds]
        return whole + [Training(label, of, seed) for label in self.labels for of in groups for seed in self.seeds]


@dataclass(frozen=True)
class Training:
    """One training, and who is asked about afterwards."""

    label: str  # whose sets are taken out, or NOTHING
    users: tuple[str, ...]
    seed: int

    @property
    def key(self) -> str:
        """A name of its own, for a folder."""
        return hashlib.sha256(repr((self.label, self.users, self.seed)).encode()).hexdigest()[:16]


def plan_of(found: Found, users: Sequence[str], n_people: int, *, seeds: Sequence[int], group: int) -> Plan:
    """Return the plan for the first so many users for whom every label found a set.

    `OptionError` where there is none.
    """
    chosen = [
        user for user in users if all(user in of_label and of_label[user].is_found for of_label in found.values())
    ]
    if not chosen:
        raise OptionError(f"nobody can be retrained for: there is no one for whom {' and '.join(found)} found a set")
    return Plan(tuple(chosen[:n_people]), tuple(found), tuple(seeds), group)


def split_without(histories: Histories, removed: Mapping[str, Sequence[int]]) -> Split:
    """Return the leave-one-out split without some positions of some users' histories.

    The test and the validation item stay those that they were; a user whose validation item is taken out is not
    validated on. `OptionError` where nobody is left for that.
    """
    split = leave_one_out(histories)
    train = [
        _without(history, removed.get(user, ())) for user, history in zip(split.train.users, split.train, strict=True)
    ]
    valid = [
        (user, _without(history, removed.get(user, ())))
        for user, history in zip(split.valid.users, split.valid, strict=True)
        if len(history) - 1 not in removed.get(user, ())
    ]
    if not valid:
        raise OptionError("nobody is left to validate on; take fewer people's sets out together (retrain_group=)")
    return Split(
        Histories.of(split.train.users, train),
        Histories.of([user for user, _ in valid], [history for _, history in valid]),
        split.test,
    )


def carry_out(
    plan: Plan, checkpoint: Checkpoint, histories: Histories, found: Found, options: Options, *, out: Path, device: str
) -> Retraining:
    """Train as the plan says and return what it comes to; trainings that were done before are not done again.

    `histories`: those that the checkpoint was trained on, whole. A stopped training goes on, too.
    """
    journal, console = Journal(out / "retraining.jsonl"), Console()
    questions = _questions(checkpoint.recommender(device), found, plan, options)
    done = {row["key"] for row in journal.rows}
    for number, training in enumerate(plan.trainings, start=1):
        if training.key in done:
            continue
        what = f"sets of {training.label}" if training.label else "nothing"
        console.print(
            f"training {number} of {len(plan.trainings)}: {what} taken out, seed {training.seed}", highlight=False
        )
        recommender = _trained(training, checkpoint, histories, found, out=out, device=device)
        changed = list(_changed(training, recommender, found, questions))
        journal.add({"key": training.key, "changed": changed})
        shutil.rmtree(_folder(out, training))
    return result_of(plan, {row["key"]: row["changed"] for row in journal.rows}, options.seed)


def result_of(plan: Plan, changed: Mapping[str, Sequence[bool]], seed: int, n_resamples: int = 1000) -> Retraining:
    """Return shares and intervals of trainings by key; `changed` holds a bool for each of a training's users."""
    place = {user: row for row, user in enumerate(plan.users)}
    shares = {label: np.zeros(len(plan.users)) for label in (NOTHING, *plan.labels)}  # over seeds, of each person
    for training in plan.trainings:
        for user, is_changed in zip(training.users, changed[training.key], strict=True):
            shares[training.label][place[user]] += is_changed / len(plan.seeds)
    draws = resampled(len(plan.users), n_resamples, seed)
    anyway = interval(means(shares[NOTHING], draws))
    rows = []
    for label in plan.labels:
        own, more = interval(means(shares[label], draws)), interval(means(shares[label] - shares[NOTHING], draws))
        three = [number for one in (own, anyway, more) for number in (one.value, one.low, one.high)]
        rows.append(Retrained(label, *three))
    pairs = tuple(_pair(one, other, shares) for one, other in combinations(plan.labels, 2))
    return Retraining(len(plan.users), len(plan.seeds), plan.group, tuple(rows), pairs)


def _pair(one: str, other: str, shares: Mapping[str, np.ndarray]) -> Pair:
    """Compare two explainers on the people for whom most seeds agree; `shares`: (people,) of the seeds, by label."""
    of_one, of_other = shares[one] > 0.5, shares[other] > 0.5
    only_one, only_other = int((of_one & ~of_other).sum()), int((of_other & ~of_one).sum())
    return Pair(one, other, only_one, only_other, mcnemar(only_one, only_other))


def _trained(
    training: Training, checkpoint: Checkpoint, histories: Histories, found: Found, *, out: Path, device: str
) -> Recommender:
    from recexplain.training.again import trained_again  # noqa: PLC0415  Lightning is slow to import

    removed = {user: found[training.label][user].positions for user in training.users} if training.label else {}
    split = split_without(histories, removed)
    again = trained_again(checkpoint, split, _folder(out, training), seed=training.seed, device=device)
    recommender: Recommender = again.recommender(device)
    return recommender


def _changed(
    training: Training, recommender: Recommender, found: Found, questions: Mapping[str, Question]
) -> Iterator[bool]:
    """Yield for each user whether the new model's answer is another than the old one's; it sees what it was trained on.

    What was taken out is not recommended either, as with every removal.
    """
    for user in training.users:
        question = questions[user]
        gone = found[training.label][user].positions if training.label else ()
        scores = checked_scores(recommender, [_without(question.history, gone)[-recommender.max_length :]])[0]
        yield question.is_changed(top_items(scores, question.history, question.options.k).tolist())


def _questions(recommender: Recommender, found: Found, plan: Plan, options: Options) -> dict[str, Question]:
    """Return what was asked about each user, with the answer of the checkpoint itself."""
    questions = {}
    for user in plan.users:
        explanation = found[plan.labels[0]][user]
        history = np.array([number_of(recommender, item) for item in explanation.history], dtype=np.int64)
        questions[user] = ask(recommender, history, options, number_of(recommender, explanation.target), user=user)
    return questions


def _without(history: np.ndarray, positions: Sequence[int]) -> np.ndarray:
    kept: np.ndarray = np.delete(history, [position for position in positions if position < len(history)])
    return kept


def _folder(out: Path, training: Training) -> Path:
    return out / "training" / training.key
