"""Removals, changes and verdicts against plain slow answers."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from toys import (
    Recording,
    Voting,
    Wobbling,
    Wrapper,
    edited,
    is_changed,
    masking,
    question_of,
    random_attentive,
    random_votes,
    ranking,
    votes_of,
)

from recexplain.counterfactual import CLOSE, Options, Question, ask
from recexplain.errors import OptionError, RecExplainError, UnknownIdError
from recexplain.recommender import checked_scores, top_items
from recexplain.verdicts import verdicts
from recexplain.vocabulary import Vocabulary

PLAIN = [
    Options(change, k, removal, **more)
    for removal in ("delete", "pad", "mask", "backfill")
    for k in (1, 2, 4)
    for change, more in [
        ("top1", {}),
        ("leaves", {}),
        ("list", {"tau": 0.4}),
        ("list", {"tau": 0.75}),
        ("enters", {"wanted": "9"}),
    ]
]


def draw_history(draw: np.random.Generator, n_items: int, length: int) -> np.ndarray:
    return draw.integers(1, n_items + 1, length)


@pytest.mark.parametrize("options", PLAIN, ids=lambda o: f"{o.change}-{o.removal}-{o.k}-{o.tau}")
@pytest.mark.parametrize("most_votes", [1, 3, 1000])
def test_a_verdict_is_that_of_ranking_everything(options: Options, most_votes: int) -> None:
    draw = np.random.default_rng(most_votes)
    n_changed = n_tied = n_asked = 0
    while n_asked < 400:
        recommender = masking(Voting(random_votes(draw, 14, most=most_votes), max_length=5, decay=0.5), draw)
        history = draw_history(draw, 5, int(draw.integers(2, 8)))
        try:
            question = ask(recommender, history, options)
        except OptionError:
            assert options.change == "enters"  # the wanted item is recommended already
            continue
        if options.change == "leaves":
            question = replace(question, target=int(draw.choice(question.before)))
        asked = [c for size in (1, 2) for c in combinations(question.removable, size) if size <= question.most]
        expected = [is_changed(recommender, question, candidate) for candidate in asked]
        assert verdicts(recommender, [(question, candidate) for candidate in asked]) == expected
        n_changed, n_asked = n_changed + sum(expected), n_asked + len(asked)
        for candidate in asked:
            scores = recommender.scores([edited(question, candidate)])[0]
            n_tied += sum(scores == scores[question.target]) > 1
    assert 0 < n_changed < n_asked  # the toy asks both kinds,
    assert n_tied > 0 or most_votes == 1000  # and ties


@pytest.mark.parametrize("tau", [0.3, 0.7, 1.0])
@pytest.mark.parametrize("k", [1, 3, 6, 100])
@pytest.mark.parametrize("change", ["list", "enters"])
def test_the_gap_is_above_nothing_where_the_list_is_another(change: str, k: int, tau: float) -> None:
    draw = np.random.default_rng(k)
    values = np.array([-np.inf, -1.0, 0.0, 0.0, 1.0, 2.0], dtype=np.float32)
    options = Options(change, k, tau=tau, wanted="5" if change == "enters" else None)
    answers = set()
    for _ in range(200):
        scores = draw.choice(values, (1, 9))
        before = tuple(ranking(draw.choice(values, 9), {2, 7, 5})[:k])
        question = Question(np.array([7, 2, 7]), 0, before, 1, options, wanted=frozenset({5, 8}) - set(before))
        after = ranking(scores[0], {2, 7})[:k]
        n_new = sum(item not in before for item in after)
        expected = n_new / k >= tau - 1e-12 if change == "list" else not question.wanted.isdisjoint(after)
        gap = question.gaps(scores)[0][0]
        assert (gap > 0) == expected == question.is_changed(after)
        answers.add(expected)
    assert answers == {True, False} or k >= 6


@pytest.mark.parametrize(
    ("tau", "k", "n_new"), [(0.5, 10, 5), (0.7, 10, 7), (0.3, 10, 3), (0.01, 10, 1), (0.41, 5, 3), (1, 7, 7)]
)
def test_how_many_must_be_new(tau: float, k: int, n_new: int) -> None:
    assert Question(np.array([1]), 0, (2,), 2, Options("list", k, tau=tau)).n_new == n_new


def test_what_may_be_removed_is_what_is_seen_but_for_locked_items_and_the_newest() -> None:
    recommender = Voting(votes_of(9, [(1, 9, 2)]), max_length=4)
    history = [1, 2, 1, 3, 4, 1]
    assert question_of(recommender, history).removable == (2, 3, 4, 5)
    assert question_of(recommender, history, locked=("1",)).removable == (3, 4)
    assert question_of(recommender, history, min_age=1).removable == (2, 3, 4)
    both = question_of(recommender, history, locked=("3", "9"), min_age=2)
    assert (both.removable, both.locked, both.most) == ((2,), {3, 4, 5}, 1)
    assert question_of(recommender, history).most == 3
    assert question_of(recommender, history, removal="backfill").most == 4
    assert question_of(recommender, history[2:], removal="backfill").most == 3
    with pytest.raises(OptionError, match="nothing may be removed: all 4 items that the recommender sees are locked"):
        question_of(recommender, history, min_age=4)
    with pytest.raises(UnknownIdError, match="item 'x'"):
        question_of(recommender, history, locked=("x",))


def test_costs_are_of_items_and_any_other_costs_one() -> None:
    recommender = Voting(votes_of(9, [(1, 9, 2)]))
    question = question_of(recommender, [1, 2, 1, 3], costs=(("1", 2.5), ("9", 7.0)))
    assert question.costs == (2.5, 1.0, 2.5, 1.0)
    assert (question.cost((0, 1)), question.cost((0, 2))) == (3.5, 5.0)
    assert question_of(recommender, [1, 2]).cost((0, 1)) == 2


def test_what_is_wanted_is_an_item_or_any_of_a_category() -> None:
    votes = votes_of(9, [(1, 9, 3), (2, 3, 2)])
    kinds = {"c": ["drama"], "d": ["noir", "drama"], "a": ["seen"], "b": ["shown"], "i": ["shown"]}
    films = Vocabulary(tuple("abcdefghi"), categories=kinds)
    recommender = Voting(votes, vocabulary=films)
    history = [1, 2]
    assert question_of(recommender, history, change="enters", k=1, wanted="d").wanted == {4}
    question = question_of(recommender, history, change="enters", k=1, wanted_category="drama")
    assert question.wanted == {3, 4}
    assert verdicts(recommender, [(question, (0,)), (question, (1,))]) == [True, False]
    for options, words in [
        ({"wanted": "i"}, "the wanted item 'i' is in the top 1 already"),
        ({"wanted": "a"}, "the wanted item 'a' is in the history already"),
        ({"wanted": "z"}, "item 'z' is not in the catalogue"),
        ({"wanted_category": "seen"}, "the wanted category 'seen' is in the history already"),
        ({"wanted_category": "shown"}, "the wanted category 'shown' is in the top 1 already"),
        ({"wanted_category": "none"}, "the category 'none' is not one of drama, noir, seen, shown"),
    ]:
        with pytest.raises(RecExplainError, match=words):
            question_of(recommender, history, change="enters", k=1, **options)
    for vocabulary, words in [
        (Vocabulary(films.ids), "the category 'drama' is not known: the data name no categories"),
        (None, "vocabulary knows no categories; give wanted=<item id> instead"),
    ]:
        with pytest.raises(RecExplainError, match=words):
            question_of(Voting(votes, vocabulary=vocabulary), history, change="enters", wanted_category="drama")


@pytest.mark.parametrize("change", ["list", "enters"])
def test_a_change_of_the_whole_list_has_no_other_target(change: str) -> None:
    recommender = Voting(votes_of(9, [(1, 9, 3), (2, 8, 2)]))
    wanted = "5" if change == "enters" else None
    assert question_of(recommender, [1, 2], 9, change=change, k=2, wanted=wanted).target == 9
    with pytest.raises(OptionError, match=f"change={change} is about the whole list, not about one target"):
        question_of(recommender, [1, 2], 8, change=change, k=2, wanted=wanted)


def test_a_mask_needs_a_mask_item() -> None:
    with pytest.raises(OptionError, match="removal=mask needs a recommender with a mask item; Voting has none"):
        question_of(Voting(votes_of(4, [(1, 3, 2)])), [1, 2], removal="mask")


def test_chance_comes_from_seed_user_and_purpose() -> None:
    question = Question(np.array([1]), 0, (2,), 2, Options(seed=1), user="a")
    others = [replace(question, user="b"), replace(question, options=Options(seed=2)), replace(question, user=None)]
    first = question.rng("x").random()
    assert first == replace(question).rng("x").random()
    assert first not in [question.rng("y").random(), *(other.rng("x").random() for other in others)]


@pytest.mark.parametrize("k", [*range(1, 9), 100])
@pytest.mark.parametrize("change", ["top1", "leaves"])
def test_the_gap_is_above_nothing_where_the_target_has_lost_its_place(change: str, k: int) -> None:
    draw = np.random.default_rng(k)
    values = np.array([-np.inf, -1.0, 0.0, 0.0, 1e-30, 1.0, 2.0], dtype=np.float32)
    history, place = np.array([7, 2, 7]), 1 if change == "top1" else k
    for _ in range(200):
        scores = draw.choice(values, (1, 9))
        target = int(draw.choice([1, 3, 4, 5, 6, 8]))
        question = Question(history, 0, (target,), target, Options(change, k))
        kept = scores.copy()
        gap = question.gaps(scores)[0][0]
        assert (gap > 0) == (target not in ranking(scores[0], {2, 7})[:place])
        assert not np.isnan(gap)
        np.testing.assert_array_equal(scores, kept)


def test_the_gap_is_the_lead_over_the_kth_other_item() -> None:
    scores = np.array([[-np.inf, 5, 3, 9, 4, 1.5]], dtype=np.float32)  # 3 was watched
    gaps = [Question(np.array([3]), 0, (1,), 1, Options("leaves", k)).gaps(scores)[0][0] for k in (1, 2, 3, 4, 9)]
    assert gaps == [-1, -2, -3.5, -np.inf, -np.inf]
    assert Question(np.array([3]), 0, (1,), 4, Options("top1", 3)).gaps(scores)[0][0] == 1


def test_gaps_of_a_batch_are_those_of_its_rows() -> None:
    scores = np.random.default_rng(0).integers(0, 3, (50, 8)).astype(np.float32)
    question = Question(np.array([3, 5]), 0, (1,), 1, Options("leaves", 2))
    assert question.gaps(scores)[0].tolist() == [float(question.gaps(row[None])[0][0]) for row in scores]


@pytest.mark.parametrize("removal", ["delete", "pad", "mask", "backfill"])
def test_edits_apply_to_what_the_model_sees_and_change_no_argument(removal: str) -> None:
    history = np.array([9, 1, 2, 3, 1])
    history.setflags(write=False)
    question = Question(history, 1, (5,), 5, Options(removal=removal), mask_item=10)
    assert list(question.removable) == [1, 2, 3, 4]
    edits = {"delete": [2, 1], "pad": [0, 2, 0, 1], "mask": [10, 2, 10, 1], "backfill": [9, 2, 1]}
    assert question.without((1, 3)).tolist() == edits[removal]
    assert all(np.array_equal(question.without(c), edited(question, c)) for c in combinations(range(1, 5), 2))
    longer = replace(question, history=np.append([8, 7], history), n_unseen=3)
    assert all(np.array_equal(longer.without((p,)), edited(longer, (p,))) for p in longer.removable)


@pytest.mark.parametrize("candidate", [(), (0,), (0, 2), (1, 2, 3, 4)])
def test_a_removal_takes_something_seen_and_leaves_something(candidate: tuple[int, ...]) -> None:
    question = Question(np.array([9, 1, 2, 3, 1]), 1, (5,), 5)
    with pytest.raises(AssertionError):
        question.without(candidate)


def test_a_removed_item_is_never_the_answer_itself() -> None:
    """1 votes for 1 and 9, 2 votes for 1 alone: without position 0 only 1 has votes, and it was watched."""
    recommender = Voting(votes_of(9, [(1, 9, 5), (2, 1, 9), (3, 8, 1)]))
    question = question_of(recommender, [1, 2, 3], change="top1")
    assert question.target == 9
    assert verdicts(recommender, [(question, (0,)), (question, (1,)), (question, (2,))]) == [True, False, False]
    assert 1 not in ranking(recommender.scores([question.without((0,))])[0], {1, 2, 3})


def test_items_that_were_never_seen_by_the_model_are_not_recommended_either() -> None:
    recommender = Voting(votes_of(9, [(1, 9, 5), (1, 8, 4), (2, 7, 1)]), max_length=2)
    assert question_of(recommender, [9, 1, 2]).before == (8, 7, 3, 4, 5, 6)


def test_the_question_holds_what_the_recommender_says_of_the_whole_history_alone() -> None:
    recommender = Recording(Voting(random_votes(np.random.default_rng(1), 9), max_length=3))
    question = question_of(recommender, [1, 2, 3, 4, 5], k=3)
    assert recommender.scored == [(3, 4, 5)]
    assert question.n_unseen == 2
    assert list(question.before) == ranking(recommender.scores([np.array([3, 4, 5])])[0], {1, 2, 3, 4, 5})[:3]
    assert question.target == question.before[0]


@pytest.mark.parametrize(
    ("history", "target", "options", "words"),
    [
        ([], None, {}, "the history is empty"),
        ([1], None, {}, "the recommender sees 1 item of the history; it must see two"),
        ([1, 2, 3, 4], None, {}, "nothing can be recommended"),
        ([1, 2], 2, {}, "the target is in the history already"),
        ([1, 2], 4, {}, "change=top1 explains the first recommendation"),
        ([1, 2], 4, {"change": "leaves", "k": 1}, "the target is not among the top 1 recommendations"),
    ],
)
def test_what_cannot_be_asked_is_refused(history: list[int], target: int, options: dict[str, Any], words: str) -> None:
    recommender = Voting(votes_of(4, [(1, 3, 2), (1, 4, 1)]))
    with pytest.raises(OptionError, match=words):
        question_of(recommender, history, target, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"change": "other"}, "change must be one of top1, leaves, list, enters, not 'other'"),
        ({"removal": "other"}, "removal must be one of delete, pad, mask, backfill, not 'other'"),
        ({"tau": 0}, "tau must be above 0 and at most 1, not 0"),
        ({"tau": 1.01}, "tau must be above 0 and at most 1, not 1.01"),
        ({"tau": True}, "tau must be above 0 and at most 1, not True"),
        ({"tau": float("nan")}, "tau must be above 0 and at most 1, not nan"),
        ({"change": "enters"}, "change=enters needs what is wanted: either wanted=<item id> or wanted_category=<name>"),
        ({"change": "enters", "wanted": "1", "wanted_category": "x"}, "change=enters needs what is wanted: either"),
        ({"wanted": "1"}, "wanted and wanted_category are for change=enters, not for change=top1"),
        ({"change": "list", "wanted_category": "x"}, "wanted_category are for change=enters, not for change=list"),
        ({"min_age": -1}, "min_age must be a whole number of 0 or more, not -1"),
        ({"costs": (("7", 0.0),)}, "costs must be numbers above 0; that of item '7' is 0.0"),
        ({"costs": (("7", float("inf")),)}, "costs must be numbers above 0"),
        ({"costs": (("7", "x"),)}, "costs must be numbers above 0"),
        ({"max_seconds": True}, "max_seconds must be above 0, or null for no limit, not True"),
        ({"k": 0}, "k must be a whole number of 1 or more, not 0"),
        ({"k": 1.5}, "k must be .* not 1.5"),
        ({"k": "ten"}, "k must be .* not 'ten'"),
        ({"max_evaluations": 0}, "max_evaluations must be .* not 0"),
        ({"max_evaluations": 2.0}, "max_evaluations must be .* not 2.0"),
        ({"max_seconds": 0.0}, "max_seconds must be above 0, or null for no limit, not 0.0"),
        ({"max_seconds": float("nan")}, "max_seconds must be above 0"),
        ({"max_seconds": "1"}, "max_seconds must be above 0"),
        ({"seed": -1}, "seed must be a whole number of 0 or more, not -1"),
        ({"seed": None}, "seed must be .* not None"),
    ],
)
def test_options_outside_what_is_allowed_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Options(**options)


def near_ties(scale: float) -> tuple[Voting, Question, list[tuple[int, ...]]]:
    """A recommender whose scores, about `scale`, are nearly or quite equal."""
    draw = np.random.default_rng(3)
    votes = scale + 1e-5 * scale * draw.integers(-2, 3, (13, 13)).astype(np.float64)
    votes[0] = 0
    recommender = Voting(votes, max_length=6)
    question = question_of(recommender, [1, 2, 3, 4, 5, 6], change="leaves", k=2)
    return recommender, question, [c for size in (1, 2, 3) for c in combinations(question.removable, size)]


@pytest.mark.parametrize("scale", [1.0, 10_000.0])
def test_rounding_that_depends_on_the_batch_decides_no_verdict(scale: float) -> None:
    recommender, question, candidates = near_ties(scale)
    wobbling = Wobbling(recommender, CLOSE * scale / 2)
    asked = [(question, candidate) for candidate in candidates]
    expected = [is_changed(recommender, question, candidate) for candidate in candidates]
    assert verdicts(wobbling, asked) == expected
    assert verdicts(wobbling, asked[::-1]) == expected[::-1]
    assert 0 < sum(expected) < len(expected)
    in_a_batch = question.gaps(wobbling.scores([question.without(candidate) for candidate in candidates]))[0] > 0
    assert in_a_batch.tolist() != expected  # it would have been otherwise


def test_only_close_verdicts_are_asked_again_and_one_alone_is_not() -> None:
    recommender = Recording(Voting(votes_of(6, [(1, 4, 3), (1, 5, 1), (2, 5, 1), (2, 4, 0.00005)])))
    question = question_of(recommender, [1, 2, 3])
    recommender.batches.clear()
    assert verdicts(recommender, [(question, (0,)), (question, (1,)), (question, (2,))]) == [True, False, False]
    assert recommender.batches == [3]
    recommender.batches.clear()
    close = question_of(Voting(votes_of(6, [(1, 4, 1), (2, 5, 1)])), [1, 2, 3])
    assert verdicts(recommender, [(close, (2,))]) == [False]
    assert recommender.batches == [1]
    assert verdicts(recommender, []) == []


class Returning(Wrapper):
    def __init__(self, inner: Any, change: Any) -> None:
        super().__init__(inner)
        self.change = change

    def scores(self, histories: Any) -> Any:
        return self.change(super().scores(histories))


def test_what_float32_does_not_tell_apart_is_told_apart_where_scores_are_float64() -> None:
    """Item 4 leads item 3 by a hair, which is none in float32: there it is a tie, and 3 comes first."""
    votes = Voting(votes_of(4, [(1, 3, 1), (2, 3, 1)]))
    large = Returning(votes, lambda s: np.where(np.arange(5) == 4, s[:, [3]].astype(np.float64) * (1 + 1e-12), s))
    for recommender, first in ((large, 4), (Returning(large, lambda s: s.astype(np.float32)), 3)):
        question = question_of(recommender, [1, 2])
        assert question.target == first
        for position in (0, 1):  # ranking and verdict agree
            after = top_items(checked_scores(recommender, [question.without((position,))])[0], question.history, 1)
            assert verdicts(recommender, [(question, (position,))]) == [question.is_changed(after.tolist())]
    for given, dtype in (
        (lambda s: s.tolist(), np.float64),
        (lambda s: s.astype(np.float16), np.float64),
        (lambda s: s, np.float32),
    ):
        assert checked_scores(Returning(votes, given), [np.array([1])]).dtype == dtype


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s[:, 1:], r"scores of shape \(1, 4\), not \(1, 5\)"),
        (lambda s: s[0], r"scores of shape \(5,\), not \(1, 5\)"),
        (lambda s: np.where(s == 2, np.nan, s), "NaN or infinity"),
        (lambda s: np.where(s == 2, np.inf, s), "NaN or infinity"),
    ],
)
def test_unusable_scores_are_refused(change: Any, words: str) -> None:
    recommender = Voting(votes_of(4, [(1, 3, 2)]))
    with pytest.raises(OptionError, match=words):
        checked_scores(Returning(recommender, change), [np.array([1])])


def test_an_item_of_minus_infinity_is_never_recommended_and_a_target_that_falls_so_far_is_lost() -> None:
    recommender = Voting(votes_of(4, [(1, 3, 2), (2, 4, -np.inf)]))
    question = question_of(recommender, [1, 2], change="leaves", k=10)
    assert question.before == (3,)
    lost = Returning(recommender, lambda s: np.full_like(s, -np.inf))
    assert verdicts(lost, [(question, (1,))]) == [True]


@pytest.mark.parametrize("removal", ["delete", "pad", "mask", "backfill"])
def test_many_removals_are_made_as_one_by_one(removal: str) -> None:
    recommender = masking(random_attentive(np.random.default_rng(0)), np.random.default_rng(1))
    question = question_of(recommender, [3, 5, 1, 8, 2, 9, 4, 7, 6], removal=removal)  # two are not seen
    assert question.n_unseen == 2
    for size in (1, 2, 3, 6):
        for some in (list(combinations(question.removable, size)), [question.removable[:size], (4,)]):
            for many, alone in zip(question.without_each(some), map(question.without, some), strict=True):
                np.testing.assert_array_equal(many, alone)
