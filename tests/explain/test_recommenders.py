"""The contract, for every recommender there is; who comes first; whose number is whose."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from contracts import AttentiveRecommenderContract, RecommenderContract
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import Attentive, Voting, Wrapper, random_heads, random_votes, ranking

import recexplain
from recexplain.errors import UnknownIdError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.counting import Popularity, SequentialRules
from recexplain.models.network import NetworkRecommender
from recexplain.recommender import AttentiveRecommender, Recommender, id_of, number_of, one_thread, top_items
from recexplain.vocabulary import Vocabulary

TAKEN = [np.array(history) for history in ([1, 2, 3, 4, 5], [2, 3, 9], [3, 9, 7, 2], [8, 8, 6])]

pytestmark = pytest.mark.usefixtures("one_thread")


class TestVoting(RecommenderContract):
    def recommender(self) -> Recommender:
        return Voting(random_votes(np.random.default_rng(0), 9), max_length=4, decay=0.5)


class TestAttentive(AttentiveRecommenderContract):
    def recommender(self) -> Recommender:
        return Attentive(random_votes(np.random.default_rng(0), 9), 5, heads=random_heads(2), beside=4)


class TestPopularity(RecommenderContract):
    def recommender(self) -> Recommender:
        return Popularity(TAKEN, 9)


class TestSequentialRules(RecommenderContract):
    def recommender(self) -> Recommender:
        return SequentialRules(TAKEN, 9, last=4)


class TestSequentialRulesByConfidence(RecommenderContract):
    def recommender(self) -> Recommender:
        return SequentialRules(TAKEN, 9, last=3, confidence=True)


class TestBERT4Rec(AttentiveRecommenderContract):
    def recommender(self) -> Recommender:
        torch.manual_seed(0)
        return NetworkRecommender(BERT4Rec(9, max_length=6, dim=8, layers=3, heads=2))


def test_only_what_has_attention_is_attentive() -> None:
    votes = random_votes(np.random.default_rng(0), 3)
    assert isinstance(Attentive(votes), AttentiveRecommender)
    assert not isinstance(Voting(votes), AttentiveRecommender)


SCORES = st.lists(st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 1e-30, 1.0, 2.0]), min_size=1, max_size=9)


@settings(deadline=None)
@given(SCORES, st.sets(st.integers(0, 8)), st.integers(1, 12))
def test_the_best_items_are_as_by_sorting(scores: Sequence[float], seen: set[int], k: int) -> None:
    row = np.array([5.0, *scores], dtype=np.float32)
    seen = {item for item in seen if item < len(row)}
    before = row.copy()
    assert top_items(row, sorted(seen), k).tolist() == ranking(row, seen)[:k]
    np.testing.assert_array_equal(row, before)


def test_numbers_are_ids_where_there_is_no_vocabulary() -> None:
    recommender = Voting(random_votes(np.random.default_rng(0), 12))
    assert number_of(recommender, 12) == number_of(recommender, "12") == number_of(recommender, np.int64(12)) == 12
    assert id_of(recommender, 12) == "12"


@pytest.mark.parametrize(
    "item", ["0", 13, -1, "1.0", "01", "\N{ARABIC-INDIC DIGIT ONE}", "\N{SUPERSCRIPT ONE}", "", "x", None, 1.0]
)
def test_another_number_is_refused(item: object) -> None:
    recommender = Voting(random_votes(np.random.default_rng(0), 12))
    with pytest.raises(UnknownIdError, match=f"item '{item}' is not one of the numbers 1 to 12"):
        number_of(recommender, item)


def test_ids_are_those_of_the_vocabulary() -> None:
    recommender = Voting(random_votes(np.random.default_rng(0), 3), vocabulary=Vocabulary(("x", "1", "é")))
    assert [number_of(recommender, item) for item in ("x", 1, "1", "é")] == [1, 2, 2, 3]
    assert [id_of(recommender, number) for number in (1, 2, 3)] == ["x", "1", "é"]
    with pytest.raises(UnknownIdError, match="item '3' is not in the catalogue of 3 items"):
        number_of(recommender, 3)


class Threads(Wrapper):
    """Notes whether it is asked about several histories, and with how many threads."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.noted: set[tuple[bool, int]] = set()

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        self.noted.add((len(histories) > 1, torch.get_num_threads()))
        return super().scores(histories)

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        self.noted.add((False, torch.get_num_threads()))
        attention: np.ndarray = self.inner.attention(history, target)
        return attention


def test_a_history_alone_is_scored_by_one_thread() -> None:
    asked = Threads(Attentive(random_votes(np.random.default_rng(1), 20), max_length=6, decay=0.5))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert recexplain.explain(asked, [5, 9, 2, 7, 3]).status == "optimal"
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), one_thread():
            _ = 1 / 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(n_threads)
    assert asked.noted == {(False, 1), (True, 3)}


def test_a_thread_that_begins_meanwhile_leaves_the_number_to_others() -> None:
    n_threads, noted = torch.get_num_threads(), []

    def begin() -> None:
        with one_thread():
            begun.set()
            done.wait(60)
        noted.append(torch.get_num_threads())

    begun, done = threading.Event(), threading.Event()
    torch.set_num_threads(3)
    try:
        with one_thread():
            meanwhile = threading.Thread(target=begin)
            meanwhile.start()
            assert begun.wait(60)
        done.set()
        meanwhile.join(60)
        later = threading.Thread(target=lambda: noted.append(torch.get_num_threads()))
        later.start()
        later.join(60)
    finally:
        torch.set_num_threads(n_threads)
    assert noted == [1, 3]
