"""Many people at once: nobody is lost, nobody changes another's result, every count and second is booked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, ClassVar

import networkx as nx
import numpy as np
import pytest
from contracts import person_of
from toys import Attentive, Recording, Voting, Wobbling, Wrapper, is_changed, question_of, random_votes, votes_of

from recexplain import OptionError, RecExplainError, UnknownIdError, robustness
from recexplain.counterfactual import CLOSE, Candidate, Options, Question
from recexplain.explainers import driver
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import Case, explain_case, explain_cases
from recexplain.recommender import Recommender
from recexplain.search import Ledger, Request, Search
from recexplain.steps import levels_until_found, searched
from recexplain.vocabulary import Vocabulary


@dataclass(frozen=True)
class Everything:
    """An explainer whose levels are all sets of a size, oldest first, or the given ones."""

    levels: Sequence[Sequence[Candidate]] | None = None
    name: ClassVar[str] = "everything"

    def search(self, _: Recommender, question: Question, __: Sequence[nx.DiGraph] = ()) -> Search:
        ledger = Ledger(question)
        return searched(ledger, levels_until_found(ledger, self.levels or self._all(question.removable)))

    def _all(self, removable: Sequence[int]) -> Iterator[list[Candidate]]:
        return (list(combinations(removable, size)) for size in range(1, len(removable)))


def people_of(draw: np.random.Generator, n: int, *, longest: int = 8) -> list[Person]:
    return [
        Person(f"user {number}", [str(item) for item in draw.integers(1, 12, int(draw.integers(2, longest + 1)))])
        for number in range(n)
    ]


def cases_of(recommender: Any, people: Sequence[Person], explainer: Any = None, **options: Any) -> list[Case]:
    return list(explain_cases(recommender, people, explainer or Everything(), Options(**options)))


@pytest.fixture
def recommender() -> Voting:
    return Voting(random_votes(np.random.default_rng(1), 20), max_length=6, decay=0.5)


@pytest.mark.parametrize(
    "options", [{}, {"change": "leaves", "k": 3, "removal": "pad"}, {"max_evaluations": 9}], ids=str
)
def test_many_people_are_explained_as_each_alone(recommender: Voting, options: dict[str, Any]) -> None:
    people = people_of(np.random.default_rng(2), 37)
    packed = [case.explanation for case in cases_of(recommender, people, **options)]
    alone = [explain_case(recommender, person, Everything(), Options(**options)).explanation for person in people]
    assert packed == alone
    assert [one.user for one in packed] == [person.user for person in people]
    turned = [case.explanation for case in cases_of(recommender, people[::-1], **options)]
    assert turned[::-1] == alone
    wobbling = [case.explanation for case in cases_of(Wobbling(recommender, CLOSE / 3), people, **options)]
    assert wobbling == alone
    assert len({one.status for one in alone}) > 1


@pytest.mark.parametrize(("people", "rows"), [(1, 1), (1, 1024), (3, 2), (16, 7), (16, 16), (16, 1000)])
def test_neither_packing_nor_the_size_of_a_batch_decides(
    recommender: Voting, people: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = people_of(np.random.default_rng(3), 20)
    usual = [case.explanation for case in cases_of(recommender, asked, max_evaluations=40)]
    monkeypatch.setattr(driver, "PEOPLE", people)
    monkeypatch.setattr(driver, "ROWS", rows)
    monkeypatch.setattr(robustness, "ROWS", rows)
    recording = Recording(recommender)
    assert [case.explanation for case in cases_of(recording, asked, max_evaluations=40)] == usual
    assert max(recording.batches) <= max(people, rows)


def test_no_more_histories_are_scored_at_once_than_fit(recommender: Voting) -> None:
    wide = replace(recommender, max_length=13)
    history = [str(item) for item in np.random.default_rng(0).integers(1, 12, 13)]
    recording = Recording(replace(wide, votes=votes_of(20, [(item, 20, 1) for item in range(1, 12)])))
    (case,) = cases_of(recording, [Person("1", history)])
    assert case.explanation.status == "none_up_to"
    assert case.explanation.evaluations == 2**13 - 2
    assert max(recording.batches) == driver.ROWS
    assert max(map(len, (list(combinations(range(13), size)) for size in range(13)))) > driver.ROWS


@pytest.mark.parametrize("budget", [None, 4])
def test_everything_scored_is_counted_once(recommender: Voting, budget: int | None) -> None:
    """On top come the question and, where something was found, the list afterwards and other removals.

    Random sets are scored only where the search has not tested all sets of that size.
    """
    scored_rates = set()
    for person in people_of(np.random.default_rng(4), 12):
        recording = Recording(Voting(recommender.votes + np.arange(21) / 32, 6))  # no ties: nothing is asked again
        found = explain_case(recording, person, Everything(), Options(max_evaluations=budget)).explanation
        n_null = len(list(combinations(range(min(6, len(person.history))), len(found.items))))
        n_other = (len(found.positions) < min(6, len(person.history))) + (len(found.positions) < len(person.history))
        is_rate_scored = bool(found.items) and found.n_minimal is None
        n_robust = 1 + n_other + n_null * is_rate_scored if found.items else 0
        assert len(recording.scored) == 1 + found.evaluations + n_robust
        scored_rates.add(is_rate_scored)
    assert scored_rates == {False} if budget is None else True in scored_rates


LEVELS = [[(0,), (1,)], [], [(0, 1), (0, 2), (1, 2)]]
#: 1, 2 and 3 each give 9 two votes, 4 gives 8 three: any two of them must go.
HISTORY = ["1", "2", "3", "4"]
VOTES = [(1, 9, 2), (2, 9, 2), (3, 9, 2), (4, 8, 3)]


@pytest.mark.parametrize(
    ("levels", "budget", "status", "evaluations", "positions"),
    [
        (LEVELS, 1, "budget", 1, ()),
        (LEVELS, 2, "budget", 2, ()),  # at the end of a level, an empty one after it
        (LEVELS, 3, "irreducible", 3, (0, 1)),
        (LEVELS, 4, "irreducible", 4, (0, 1)),
        (LEVELS, 5, "irreducible", 5, (0, 1)),
        (LEVELS, 6, "irreducible", 5, (0, 1)),
        (LEVELS, None, "irreducible", 5, (0, 1)),
        (LEVELS[:1], 1, "budget", 1, ()),
        (LEVELS[:1], 2, "none_up_to", 2, ()),  # spent at the very end
        (LEVELS[:2], 2, "none_up_to", 2, ()),
        ([[]], 1, "none_up_to", 0, ()),
        ([[], [(1, 2), (0, 1)]], 1, "found", 1, (1, 2)),
    ],
)
def test_a_budget_in_evaluations_is_exact(
    levels: Any, budget: int | None, status: str, evaluations: int, positions: Candidate
) -> None:
    recommender = Voting(votes_of(9, VOTES))
    people = [Person(str(number), HISTORY) for number in range(3)]
    for case in cases_of(recommender, people, Everything(levels), max_evaluations=budget):
        found = case.explanation
        assert (found.status, found.evaluations, found.positions) == (status, evaluations, positions)


def test_a_person_whose_search_ends_at_once_waits_for_nobody() -> None:
    @dataclass(frozen=True)
    class Some(Everything):
        def search(self, recommender: Recommender, question: Question, graphs: Sequence[nx.DiGraph] = ()) -> Search:
            ledger = Ledger(question)
            none = len(question.history) < 4
            return searched(ledger, iter(())) if none else super().search(recommender, question, graphs)  # type: ignore[arg-type]

    people = [Person("short", HISTORY[:2]), Person("long", HISTORY), Person("shorter", HISTORY[1:3])]
    statuses = [case.explanation.status for case in cases_of(Voting(votes_of(9, VOTES)), people, Some())]
    assert statuses == ["none_up_to", "optimal", "none_up_to"]


def test_a_budget_in_seconds_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "ROWS", 4)
    history = [str(item) for item in range(1, 9)]
    recommender = Voting(votes_of(20, [(item, 20, 1) for item in range(1, 9)]))
    free = explain_case(recommender, Person("1", history), Everything(), Options())
    assert free.explanation.status == "none_up_to"
    bound = explain_case(recommender, Person("1", history), Everything(), Options(max_seconds=1e-9))
    assert (bound.explanation.status, bound.explanation.evaluations) == ("budget", 0)
    clock = iter(range(10**6))
    monkeypatch.setattr(driver.time, "perf_counter", lambda: float(next(clock)))  # a second between any two looks
    bound = explain_case(recommender, Person("1", history), Everything(), Options(max_seconds=7))
    assert bound.explanation.status == "budget"
    assert 0 < bound.explanation.evaluations < free.explanation.evaluations


@pytest.mark.parametrize(("seconds", "batches"), [(200, [1, 12, 66, 121]), (80, [1, 12, 66, driver.TIMED])])
def test_under_a_budget_in_seconds_a_batch_is_as_large_as_there_is_time(
    seconds: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, sizes = [0.0], list[int]()

    class Slow(Voting):
        def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
            sizes.append(len(histories))
            clock[0] += len(histories)  # a second each
            return super().scores(histories)

    monkeypatch.setattr(driver.time, "perf_counter", lambda: clock[0])
    recommender = Slow(votes_of(20, [(item, 20, 1) for item in range(1, 13)]), 12)
    person, options = Person("1", [str(item) for item in range(1, 13)]), Options(max_seconds=seconds)
    assert explain_case(recommender, person, Everything(), options).explanation.status == "budget"
    assert sizes == batches


def test_seconds_are_booked_and_add_up(recommender: Voting) -> None:
    for case in cases_of(recommender, people_of(np.random.default_rng(5), 20)):
        timing = case.timing
        assert timing.graph_s > 0
        assert timing.search_s > 0
        assert timing.total_s > timing.graph_s + timing.search_s


def test_seconds_of_a_shared_batch_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(driver.time, "perf_counter", lambda: float(next(clock)))
    levels = [[(0,), (1,), (2,)]]
    cases = cases_of(Voting(votes_of(9, VOTES)), [Person("1", HISTORY)] * 4, Everything(levels))
    assert [case.timing.graph_s for case in cases] == [1.0] * 4
    assert [case.timing.search_s for case in cases] == [
        2.25
    ] * 4  # a second for each level's making, one shared by four


def test_only_seed_and_user_decide_the_random_sets() -> None:
    """Of the 4,060 triples of thirty items, the random ones."""
    draw = np.random.default_rng(0)
    votes = votes_of(40, [(item, 40, 3) for item in range(1, 4)] + [(item, 39, 1) for item in range(4, 9)])
    votes[:, 38] += draw.integers(0, 2, 41) * np.float32(0.25)
    votes[0] = 0
    history = [str(item) for item in range(1, 31)]
    explainer = Everything([[(0, 1, 2)]])

    def rate(user: str | None, seed: int = 0, n_before: int = 0) -> float | None:
        people = [*[Person("other", history)] * n_before, Person(user, history)]
        return cases_of(Voting(votes), people, explainer, seed=seed)[-1].explanation.null_rate

    assert rate("a") == rate("a", n_before=5) == rate("a")
    assert len({rate(user) for user in "abcdefgh"}) > 1
    assert len({rate("a", seed) for seed in range(8)}) > 1


class Failing(Wrapper):
    """Has no usable scores for a history that holds item 13, if it has lost something."""

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores = super().scores(histories)
        for row, history in zip(scores, histories, strict=True):
            if 13 in history and len(history) < 4:
                row[5] = np.nan
        return scores


def test_errors_are_of_one_person_and_nobody_is_lost(recommender: Voting) -> None:
    good = people_of(np.random.default_rng(7), 20)
    people = [
        *good[:5],
        Person("none", []),
        Person("no list", 5),  # type: ignore[arg-type]
        Person("a text", "35"),
        Person("one", ["3"]),
        Person("unknown", ["3", "21"]),
        *good[5:12],
        Person("breaks off", ["13", "2", "3", "4"]),
        Person("no target", ["3", "4"], "99"),
        Person(None, ["3", "4"], "3"),
        *good[12:],
    ]
    cases = cases_of(Failing(recommender), people)
    assert [case.explanation.user for case in cases] == [person.user for person in people]
    errors = {case.explanation.user: case.explanation for case in cases if case.explanation.status == "error"}
    assert {user: one.error for user, one in errors.items()} == {
        "none": "the history is empty; an explanation needs two items or more",
        "no list": "a history must be a list of item ids, oldest first, not 5",
        "a text": "a history must be a list of item ids, oldest first, not '35'",
        "one": "the recommender sees 1 item of the history; it must see two, for a removal never empties it",
        "unknown": "item '21' is not one of the numbers 1 to 20",
        "breaks off": "the recommender returned NaN or infinity among its scores",
        "no target": "item '99' is not one of the numbers 1 to 20",
        None: "the target is in the history already, so it is never recommended; give a recommended item",
    }
    for person in people:
        if person.user in errors:
            one = errors[person.user]
            assert one.history == (tuple(person.history) if isinstance(person.history, list) else ())
            assert one.target == (person.target or "")
            assert (one.positions, one.before, one.evaluations, one.replacement) == ((), (), 0, None)
            with pytest.raises(RecExplainError, match=str(one.error)):
                explain_case(Failing(recommender), person, Everything(), Options())
    others = [case.explanation for case in cases if case.explanation.status != "error"]
    assert others == [explain_case(recommender, person, Everything(), Options()).explanation for person in good]


def test_an_error_of_one_person_keeps_its_class(recommender: Voting) -> None:
    with pytest.raises(UnknownIdError):
        explain_case(recommender, Person("1", ["1", "x"]), Everything(), Options())
    with pytest.raises(OptionError):
        explain_case(recommender, Person("1", ["1"]), Everything(), Options())


def test_an_error_that_is_not_ours_is_not_hidden(recommender: Voting) -> None:
    class Broken(Everything):
        def search(self, *_: Any) -> Search:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cases_of(recommender, people_of(np.random.default_rng(0), 2), Broken())


def test_a_search_that_cannot_go_on_is_an_error_of_its_person(recommender: Voting) -> None:
    class Refusing(Everything):
        def search(self, _: Recommender, question: Question, __: Sequence[nx.DiGraph] = ()) -> Search:
            yield Request([(question.removable[0],)])
            raise OptionError("no more candidates")

    case = cases_of(recommender, people_of(np.random.default_rng(0), 1), Refusing())[0]
    assert (case.explanation.status, case.explanation.error) == ("error", "no more candidates")


class Changeable(Wrapper):
    """Says of every history that it gets together with others that item 20 is best."""

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        scores = super().scores(histories)
        if len(histories) > 1:
            scores[:, 20] = 1e6
        return scores


def test_what_the_recommender_does_not_confirm_is_not_reported() -> None:
    steady = Voting(votes_of(20, [(item, 9, 1) for item in range(1, 9)]))
    for case in cases_of(Changeable(steady), [Person("1", ["1", "2", "3"]), Person("2", ["4", "5"])]):
        assert case.explanation.status == "error"
        assert "scores the same history differently from call to call" in str(case.explanation.error)


def test_lists_are_those_of_one_history_at_a_time(recommender: Voting) -> None:
    wobbling = Wobbling(recommender, 1e-5)
    for person, case in zip(
        people := people_of(np.random.default_rng(9), 18), cases_of(wobbling, people, change="leaves", k=3), strict=True
    ):
        found = case.explanation
        question = question_of(recommender, [int(item) for item in person.history], change="leaves", k=3)
        assert found.before == tuple(map(str, question.before))
        assert found.n_unseen == max(0, len(person.history) - 6)
        assert found.items == tuple(person.history[position] for position in found.positions)
        if found.is_found:
            assert is_changed(recommender, question, found.positions)
            assert found.replacement == found.after[0]
            assert found.target not in found.after
            assert not set(found.after) & set(person.history)


def test_the_target_may_be_any_recommended_item() -> None:
    recommender = Voting(votes_of(9, [(1, 9, 3), (2, 8, 2), (3, 7, 1)]), vocabulary=Vocabulary(tuple("abcdefghi")))
    case = explain_case(recommender, Person("1", ["a", "b", "c"], "h"), Everything(), Options("leaves", 2))
    found = case.explanation
    assert (found.target, found.target_rank, found.before) == ("h", 2, ("i", "h"))
    assert (found.positions, found.items, found.replacement, found.after) == ((1,), ("b",), "i", ("i", "g"))


def test_ids_are_text_whatever_they_were(recommender: Voting) -> None:
    person = Person(7, [1, np.int64(2), "3"])  # type: ignore[arg-type]
    found = explain_case(recommender, person, Everything(), Options()).explanation
    assert (found.user, found.history) == ("7", ("1", "2", "3"))
    same = explain_case(recommender, Person("7", ["1", "2", "3"]), Everything(), Options()).explanation
    assert found == same


def test_where_a_model_comes_from_is_carried_on(recommender: Voting) -> None:
    class Known(Wrapper):
        model_hash, data_hash = "model", "data"

    found = explain_case(Known(recommender), Person("1", ["1", "2"]), Everything(), Options(seed=4)).explanation
    assert (found.model_hash, found.data_hash, found.seed, found.explainer) == ("model", "data", 4, "everything")
    anonymous = explain_case(recommender, Person("1", ["1", "2"]), Everything(), Options()).explanation
    assert (anonymous.model_hash, anonymous.data_hash) == ("", "")


def test_people_are_taken_as_they_are_needed(recommender: Voting) -> None:
    taken = []

    def endless() -> Iterator[Person]:
        while True:
            taken.append(1)
            yield Person("1", ["1", "2"])

    cases = explain_cases(recommender, endless(), Everything(), Options())
    next(cases)
    assert len(taken) == driver.PEOPLE
    assert not list(explain_cases(recommender, [], Everything(), Options()))


def test_graphs_come_with_the_case() -> None:
    recommender = Attentive(votes_of(9, VOTES))
    question = question_of(recommender, [1, 2, 3, 4])
    graph = nx.DiGraph([(0, 1)])

    class Graphic(Everything):
        def graphs(self, *_: Any) -> tuple[nx.DiGraph, ...]:
            return (graph, graph)

        def head_of(self, candidate: Candidate, *_: Any) -> int:
            assert candidate == (0, 1)
            return 1

    case = explain_case(recommender, person_of(question), Graphic(), question.options)
    assert (case.graphs, case.head) == ((graph, graph), 1)
    never = explain_case(recommender, person_of(question), Graphic(LEVELS[:1]), question.options)
    assert never.head == 0
