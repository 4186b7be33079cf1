"""Any function as a recommender: the contract, every kind of answer, and what is wrong is caught at the door."""

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from contracts import RecommenderContract
from scipy import sparse
from toys import Recording, random_votes

import recexplain
from recexplain.adapters.callables import CallableRecommender, from_callable
from recexplain.recommender import Recommender

FILMS = ["alien", "brazil", "casablanca", "duel", "heat", "ran", "kika", "m", "z"]
VOTES = random_votes(np.random.default_rng(0), 9, most=9)[1:, 1:]
DECAY = 0.5 ** np.arange(6)


def votes_of(history: Sequence[Any]) -> np.ndarray:
    """What the films of a history give to each film, the newest the most."""
    rows = VOTES[[FILMS.index(film) for film in history[::-1]]]
    return DECAY[: len(history)] @ rows


def dense(histories: list[list[Any]]) -> list[np.ndarray]:
    return [votes_of(history) for history in histories]


class TestCallable(RecommenderContract):
    def recommender(self) -> Recommender:
        return from_callable(dense, FILMS, max_length=6, batch_size=5)


def as_array(histories: list[list[Any]]) -> np.ndarray:
    return np.array(dense(histories)).reshape(-1, 9)


def as_tensor(histories: list[list[Any]]) -> torch.Tensor:
    return torch.tensor(as_array(histories), requires_grad=True)


def as_sparse(histories: list[list[Any]]) -> sparse.csr_array:
    return sparse.csr_array(as_array(histories) + 1e-9)


def as_tables(histories: list[list[Any]]) -> list[dict[Any, float]]:
    return [dict(zip(FILMS, row.tolist(), strict=True)) for row in dense(histories)]


@pytest.mark.parametrize("answer", [as_array, as_tensor, as_sparse, as_tables])
def test_answers_of_all_kinds_are_the_same(answer: Callable[..., Any]) -> None:
    recommender = from_callable(answer, FILMS, max_length=6)
    histories = [np.array([1, 2, 3]), np.array([9])]
    np.testing.assert_allclose(
        recommender.scores(histories), from_callable(dense, FILMS, max_length=6).scores(histories), atol=1e-6
    )


def best_three(histories: list[list[Any]]) -> list[dict[Any, float]]:
    """A service that answers with the best only, and not with what was taken already."""
    found = []
    for history, row in zip(histories, dense(histories), strict=True):
        order = [place for place in np.argsort(-row, kind="stable") if FILMS[place] not in history]
        found.append({FILMS[place]: float(row[place]) for place in order[:3]})
    return found


@pytest.mark.parametrize("is_sparse", [False, True])
def test_what_a_service_leaves_out_is_never_recommended(is_sparse: bool) -> None:
    def stored(histories: list[list[Any]]) -> sparse.coo_array:
        rows = [
            (n, FILMS.index(film), score) for n, row in enumerate(best_three(histories)) for film, score in row.items()
        ]
        n, film, score = map(np.array, zip(*rows, strict=True))
        return sparse.coo_array((score, (n, film)), shape=(len(histories), 9))

    recommender = from_callable(stored if is_sparse else best_three, FILMS, max_length=6)
    scores = recommender.scores([np.array([1, 2])])[0]
    assert np.isfinite(scores).sum() == 3
    found = recexplain.explain(recommender, ["alien", "brazil", "heat"], change="top1", explainer="exhaustive", k=3)
    full = recexplain.explain(
        from_callable(dense, FILMS, max_length=6), ["alien", "brazil", "heat"], explainer="exhaustive", k=3
    )
    assert (found.before, found.positions) == (full.before, full.positions)
    assert found.is_found


def test_a_stored_zero_is_a_score() -> None:
    def zeros(histories: list[list[Any]]) -> sparse.csr_array:
        data = np.zeros(len(histories))
        return sparse.csr_array((data, (np.arange(len(histories)), np.ones(len(histories), int))), shape=(len(data), 9))

    scores = from_callable(zeros, FILMS, max_length=6).scores([np.array([4])])[0]
    assert scores[2] == 0
    assert np.isfinite(scores).sum() == 1


def test_the_function_gets_the_ids_as_they_were_given_newest_of_the_window_oldest_first() -> None:
    asked: list[Any] = []

    def note(histories: list[list[Any]]) -> np.ndarray:
        asked.append(histories)
        return np.ones((len(histories), 5))

    recommender = from_callable(note, [10, "x", 30, 4.5, 7], max_length=3, batch_size=2, check=False)
    recommender.scores([np.array([1, 2, 3, 4]), np.array([5, 0, 1]), np.zeros(2, np.int64)])
    assert asked == [[["x", 30, 4.5], [7, 10]], [[]]]
    assert recommender.vocabulary.ids == ("10", "x", "30", "4.5", "7")
    found = recexplain.explain(recommender, ["10", 30, 7])
    assert (found.status, found.target) == ("optimal" if found.is_found else "none_up_to", "x")


def test_an_empty_place_cannot_be_left() -> None:
    recommender = from_callable(dense, FILMS, max_length=6)
    with pytest.raises(recexplain.OptionError, match="removal=pad needs a recommender that can leave a place empty"):
        recexplain.explain(recommender, FILMS[:3], removal="pad")
    found = recexplain.explain(recommender, FILMS[:5], change="leaves", k=2)
    assert found.is_found
    assert "pad" not in found.holds_under
    assert recexplain.verify(recommender, [found]) == []


def test_titles_are_shown() -> None:
    recommender = from_callable(dense, FILMS, max_length=6, titles={"m": "M (1931)"})
    assert recommender.vocabulary.title_of("m") == "M (1931)"


class Flaw:
    """A scorer with one thing wrong."""

    def __init__(self, what: str) -> None:
        self.what, self.calls = what, 0

    def __call__(self, histories: list[list[Any]]) -> Any:  # noqa: C901, PLR0911
        scores = as_array(histories)
        self.calls += 1
        if self.what == "nan":
            return np.where(scores == scores.max(), np.nan, scores)
        if self.what == "infinity":
            return np.where(scores == scores.max(), np.inf, scores)
        if self.what == "narrow":
            return scores[:, 1:]
        if self.what == "one row":
            return scores[0]
        if self.what == "fewer rows":
            return as_tables(histories)[1:]
        if self.what == "text":
            return scores.astype(str) + "!"
        if self.what == "unknown id":
            return [{"zorro": 1.0} for _ in histories]
        if self.what == "random":
            return scores + np.random.default_rng(self.calls).normal(size=scores.shape)
        if self.what == "batch size":
            return scores * len(histories)
        if self.what == "normalised":
            return scores - scores.mean(0)
        if self.what == "place":
            return scores + np.arange(len(scores))[:, None]
        return [row for row in best_three(histories)[: len(histories)] if self.calls % 2 or row.popitem()]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("nan", "returned NaN or infinity"),
        ("infinity", "returned NaN or infinity"),
        ("narrow", r"must return scores of shape \(histories, items\), here \(7, 9\), not \(7, 8\)"),
        ("one row", r"here \(7, 9\), not \(9,\)"),
        ("fewer rows", r"here \(7, 9\), not \(6, 9\)"),
        ("text", "must return numbers"),
        ("unknown id", "item 'zorro' is not in the catalogue of 9 items"),
        (
            "random",
            "scores of the same history change, by up to .*, when it is scored again; a network must be in eval",
        ),
        ("batch size", "change, by up to .*, with the others in its batch; each must be scored as if it were alone"),
        ("normalised", "with the others in its batch"),
        ("place", "with its place in the batch"),
        ("now this, now that", "scores for other items when it is scored again"),
    ],
)
def test_a_wrong_scorer_is_caught_at_the_door(what: str, sentence: str) -> None:
    with pytest.raises(recexplain.RecExplainError, match=sentence):
        from_callable(Flaw(what), FILMS, max_length=6)


def scored_as(kind: str, what: str) -> Callable[..., Any]:
    """A scorer with one thing wrong that answers with a sparse matrix, or with the best three only."""
    calls: list[int] = []

    def answer(histories: list[list[Any]]) -> Any:
        rows = as_array(histories)
        calls.append(len(rows))
        if what == "random":
            rows = rows + np.random.default_rng(len(calls)).normal(size=rows.shape)
        if what == "batch size":
            rows = rows * len(rows)
        if what == "nan":
            rows[0, rows[0].argmax()] = np.nan
        rows = rows[1:] if what == "fewer rows" else rows
        if kind == "sparse":
            stored = sparse.csr_array(rows + 1e-9)
            return stored[:, 1:] if what == "narrow" else stored[0] if what == "one row" else stored
        best = [np.argsort(-row, kind="stable")[:3] for row in rows]
        said = {"text": "much", "nothing": None, "nan": np.nan}
        return [
            {FILMS[place]: said.get(what, float(row[place])) for place in of_row}
            for row, of_row in zip(rows, best, strict=True)
        ]

    return answer


@pytest.mark.parametrize(
    ("kind", "what", "sentence"),
    [
        ("sparse", "nan", "returned NaN or infinity"),
        ("sparse", "random", "when it is scored again"),
        ("sparse", "batch size", "with the others in its batch"),
        ("sparse", "fewer rows", r"here \(7, 9\), not \(6, 9\)"),
        ("sparse", "narrow", r"here \(7, 9\), not \(7, 8\)"),
        ("sparse", "one row", r"here \(7, 9\), not \(9,\)"),
        ("best", "nan", "returned NaN or infinity"),
        ("best", "random", "when it is scored again"),
        ("best", "batch size", "with the others in its batch"),
        ("best", "fewer rows", r"here \(7, 9\), not \(6, 9\)"),
        ("best", "text", "must return numbers; the score of '.*' is 'much'"),
        ("best", "nothing", "must return numbers; the score of '.*' is None|returned NaN or infinity"),
    ],
)
def test_a_wrong_scorer_of_few_scores_is_caught_at_the_door(kind: str, what: str, sentence: str) -> None:
    assert from_callable(scored_as(kind, "right"), FILMS, max_length=6).n_items == 9
    with pytest.raises(recexplain.OptionError, match=sentence):
        from_callable(scored_as(kind, what), FILMS, max_length=6)


def test_rows_of_several_lengths_and_what_is_stored_twice() -> None:
    def ragged(histories: list[list[Any]]) -> list[list[float]]:
        return [[1.0] * (3 + place % 2) for place in range(len(histories))]

    with pytest.raises(recexplain.OptionError, match="must return a row a history, all of them of one length"):
        from_callable(ragged, FILMS, max_length=6)

    def twice(histories: list[list[Any]]) -> sparse.coo_array:
        rows = np.arange(len(histories)).repeat(2)
        return sparse.coo_array((np.full(len(rows), 2.0), (rows, np.full(len(rows), 4))), (len(histories), 9))

    assert from_callable(twice, FILMS, max_length=6).scores([np.array([1])])[0, 5] == 4


def test_rounding_is_no_fault() -> None:
    def rounded(histories: list[list[Any]]) -> np.ndarray:
        return as_array(histories) * (1 + 1e-6 * len(histories))

    assert from_callable(rounded, FILMS, max_length=6).n_items == 9


def test_the_door_can_be_left_open_and_costs_four_rounds() -> None:
    flaw = Flaw("nan")
    recommender = from_callable(flaw, FILMS, max_length=6, check=False)
    assert flaw.calls == 0
    with pytest.raises(recexplain.OptionError, match="NaN"):
        recexplain.explain(recommender, ["alien", "brazil"])
    fine = Flaw("nothing")
    fine.calls = 1
    recording = Recording(from_callable(dense, FILMS, max_length=6, check=False))
    from recexplain.adapters.door import check_scorer

    check_scorer(recording)
    assert (len(recording.scored), len(recording.batches)) == (28, 10)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scores": 3}, "scores must be a function"),
        ({"item_ids": []}, "item_ids must be a list of all item ids"),
        ({"item_ids": "abc"}, "item_ids must be a list of all item ids"),
        ({"item_ids": ["1", 1]}, "'1' stands twice"),
        ({"max_length": 0}, "max_length must be a whole number of 1 or more, not 0"),
        ({"max_length": 2.5}, "max_length must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
    ],
)
def test_wrong_options_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    given: dict[str, Any] = {"scores": dense, "item_ids": FILMS, "max_length": 6} | wrong
    with pytest.raises(recexplain.RecExplainError, match=sentence):
        from_callable(given.pop("scores"), given.pop("item_ids"), **given)


def test_it_travels_to_workers() -> None:
    recommender = from_callable(dense, FILMS, max_length=6)
    again = pickle.loads(pickle.dumps(recommender))  # noqa: S301  our own
    assert isinstance(again, CallableRecommender)
    np.testing.assert_array_equal(again.scores([np.array([1])]), recommender.scores([np.array([1])]))


def test_large_scores_are_told_apart() -> None:
    """In float32 these would all be equal."""

    def large(histories: list[list[Any]]) -> list[list[float]]:
        return [[0, 0, 1e8 + 3 * ("a" in history), 1e8 + 1] for history in histories]

    recommender = from_callable(large, list("abcd"), max_length=3)
    found = recexplain.explain(recommender, ["a", "b"], k=2)
    assert (found.before, found.items, found.replacement, found.status) == (("c", "d"), ("a",), "d", "optimal")
    assert recexplain.verify(recommender, [found]) == []
