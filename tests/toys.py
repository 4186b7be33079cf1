"""Recommenders with arithmetic a reader can do, and plain slow answers to compare with."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recexplain.counterfactual import Options, Question, ask
from recexplain.vocabulary import Vocabulary

Heads = Callable[
    [np.ndarray, int], np.ndarray
]  # history as seen, target -> (heads, m + 1, m + 1), of the deepest layer


@dataclass(frozen=True, eq=False)
class Voting:
    """Items vote: an item's score is the sum of what the seen items give it, times `decay` a place from the end."""

    votes: np.ndarray  # (n_items + 1, n_items + 1): what the item of the row gives to that of the column; row 0 is 0;
    # where there is a mask item, one row more, for what that gives
    max_length: int = 50
    decay: float = 1.0
    vocabulary: Vocabulary | None = None
    mask_item: int | None = None

    @property
    def n_items(self) -> int:
        return self.votes.shape[1] - 1

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores = np.zeros((len(histories), self.n_items + 1), dtype=np.float32)
        for row, history in enumerate(histories):
            newest_first = history[::-1][: self.max_length]
            for place, item in enumerate(newest_first):
                scores[row] += self.decay**place * self.votes[item]
        scores[:, 0] = -np.inf
        return scores


@dataclass(frozen=True, eq=False)
class Attentive(Voting):
    """Items vote, and the attention is what was planted: it has no part in the votes."""

    heads: Heads = lambda history, _: np.eye(len(history) + 1)[None]
    beside: int | None = None  # items that fit beside the target; None: as many as are seen

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        deepest = self.heads(history[-(self.beside or self.max_length) :], target)
        n = deepest.shape[-1]
        return np.stack([np.full_like(deepest, 1 / n), deepest])  # an explainer of the first layer sees copies only


class Wrapper:
    """Any recommender, with something added; the rest is as it was."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores: np.ndarray = self.inner.scores(histories)
        return scores


class Wobbling(Wrapper):
    """Rounds otherwise in a batch: by up to `by`, otherwise for each place and item."""

    def __init__(self, inner: Any, by: float) -> None:
        super().__init__(inner)
        self.by = by

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores = super().scores(histories)
        if len(histories) > 1:
            scores = scores + self.by * np.cos(np.arange(scores.size).reshape(scores.shape)).astype(np.float32)
        return scores


class Recording(Wrapper):
    """Notes every history that is scored, and how many at once."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.scored: list[tuple[int, ...]] = []
        self.batches: list[int] = []

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.scored += [tuple(history.tolist()) for history in histories]
        self.batches.append(len(histories))
        return super().scores(histories)


def votes_of(n_items: int, given: Iterable[tuple[int, int, float]]) -> np.ndarray:
    """Votes in which item a gives item b so much, for each (a, b, so much)."""
    votes = np.zeros((n_items + 1, n_items + 1), dtype=np.float32)
    for a, b, much in given:
        votes[a, b] += much
    return votes


def random_votes(draw: np.random.Generator, n_items: int, *, most: int = 3) -> np.ndarray:
    """Whole votes from 0 to `most`: sums are exact, and ties are many."""
    votes = draw.integers(0, most + 1, (n_items + 1, n_items + 1)).astype(np.float32)
    votes[0] = 0
    return votes


def linked(*groups: Collection[int]) -> Heads:
    """One head a group: the target attends to the nodes of the group and itself, they and the others to themselves."""

    def heads(history: np.ndarray, _: int) -> np.ndarray:
        n = len(history) + 1
        attention = np.tile(np.eye(n), (len(groups), 1, 1))
        for head, group in zip(attention, groups, strict=True):
            head[-1, list(group)] = 1
            head[-1] /= head[-1].sum()
        return attention

    return heads


def random_heads(n_heads: int, seed: int = 0, sharpness: float = 2.0) -> Heads:
    """Softmax of noise, the same for the same history and target."""

    def heads(history: np.ndarray, target: int) -> np.ndarray:
        n = len(history) + 1
        draw = np.random.default_rng([seed, target, *history.tolist()])
        weights = np.exp(sharpness * draw.normal(size=(n_heads, n, n)))
        shares: np.ndarray = weights / weights.sum(-1, keepdims=True)
        return shares

    return heads


def masking(recommender: Any, draw: np.random.Generator) -> Any:
    """The same recommender with a mask item that votes too."""
    given = draw.integers(0, 3, (1, recommender.n_items + 1)).astype(np.float32)
    return replace(recommender, votes=np.concatenate([recommender.votes, given]), mask_item=recommender.n_items + 1)


def random_attentive(draw: np.random.Generator, *, n_items: int = 14, max_length: int = 7) -> Attentive:
    """Votes with ties, two random heads, newer items count twice as much as the next older."""
    return Attentive(
        random_votes(draw, n_items),
        max_length,
        decay=0.5,
        heads=random_heads(2, seed=int(draw.integers(1000))),
    )


def ranking(scores: np.ndarray, seen: Collection[int]) -> list[int]:
    """All items that are not seen, best first, the smaller number first where scores are equal; -inf is none."""
    open_items = [item for item in range(1, len(scores)) if item not in seen and scores[item] != -np.inf]
    return sorted(open_items, key=lambda item: (-float(scores[item]), item))


def edited(question: Question, candidate: Collection[int], removal: str | None = None) -> np.ndarray:
    """What the model sees of a history after a removal, place by place."""
    removal = removal or question.options.removal
    kept = []
    for position in range(len(question.history)):
        if position < question.n_unseen and removal != "backfill":
            continue
        if position not in candidate:
            kept.append(int(question.history[position]))
        elif removal in ("pad", "mask"):
            kept.append(0 if removal == "pad" else question.mask_item)
    n_seen = len(question.history) - question.n_unseen
    return np.array(kept[-n_seen:], dtype=np.int64)


def is_changed(recommender: Any, question: Question, candidate: Collection[int], removal: str | None = None) -> bool:
    """Whether a removal changes the answer, asked on its own and ranked in full."""
    seen, k = set(question.history.tolist()), question.options.k
    after = ranking(recommender.scores([edited(question, candidate, removal)])[0], seen)
    if question.options.change == "top1":
        return after[:1] != [question.target]
    if question.options.change == "leaves":
        return question.target not in after[:k]
    if question.options.change == "enters":
        return any(item in question.wanted for item in after[:k])
    before = ranking(recommender.scores([question.history[question.n_unseen :]])[0], seen)[:k]
    return sum(item not in before for item in after[:k]) / k >= question.options.tau - 1e-12


def question_of(recommender: Any, history: Sequence[int], target: int | None = None, **options: Any) -> Question:
    """The question for a history of item numbers."""
    return ask(recommender, np.array(history, dtype=np.int64), Options(**options), target)
