"""Many deletions from one history: the scores are those of the edited histories, however they are computed."""

import gc
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from toys import Wrapper

from recexplain import OptionError, verdicts
from recexplain.counterfactual import CLOSE, Options, Question, ask
from recexplain.explainers import Exhaustive
from recexplain.explainers.cases import Person
from recexplain.explainers.driver import explain_case
from recexplain.models import attention
from recexplain.models import network as network_module
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.deletions import Deletions
from recexplain.models.network import NetworkRecommender
from recexplain.models.sasrec import SASRec
from recexplain.recommender import can_delete
from recexplain.verdicts import measured

Places = np.ndarray
N_ITEMS = 30


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sums are made for few sets too; three passes a batch, each in several parts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(network_module, "WORTH_SUMS", 1)
    monkeypatch.setattr(network_module, "SUMMED", 200)
    monkeypatch.setattr(attention, "CACHED", 40)
    monkeypatch.setattr(verdicts, "MANY", 4)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes for which sums are made, and found to be right."""
    sizes, sums_of = [], network_module._Deleting._sums_of

    def noting(self: network_module._Deleting, places: Places) -> Deletions | None:
        before, found = self._sums, sums_of(self, places)
        if found is not None and found is not before:
            sizes.append(found.size)
        return found

    monkeypatch.setattr(network_module._Deleting, "_sums_of", noting)
    return sizes


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes for which sums are made, right or not."""
    sizes, make = [], Deletions.__init__

    def noting(self: Deletions, encoder: Any, items: torch.Tensor, size: int) -> None:
        sizes.append(size)
        make(self, encoder, items, size)

    monkeypatch.setattr(Deletions, "__init__", noting)
    return sizes


def network_of(kind: type[BERT4Rec | SASRec] = BERT4Rec, *, loud: float = 0.5, **options: Any) -> NetworkRecommender:
    torch.manual_seed(0)
    model = kind(N_ITEMS, **{"max_length": 10, "dim": 8, "layers": 2, "heads": 2, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(loud * torch.randn(parameter.shape))
    return NetworkRecommender(model)  # in training mode: it is put back


def history_of(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, N_ITEMS + 1, length)


def sets_of(length: int, size: int) -> Places:
    return np.array(list(combinations(range(length), size)))


def by_scores(recommender: NetworkRecommender, history: np.ndarray, places: Places) -> np.ndarray:
    return recommender.scores([np.delete(history, some) for some in places])


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [{}, {"heads": 1}, {"layers": 3}, {"max_length": 25}])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_scores_are_those_of_the_edited_histories(
    size: int, options: dict[str, Any], n_threads: int, made: list[int]
) -> None:
    torch.set_num_threads(n_threads)
    recommender, history = network_of(**options), history_of(10)
    history[7] = history[2]  # it stands twice
    found = recommender.deleting(history)(sets_of(10, size))
    np.testing.assert_allclose(found, by_scores(recommender, history, sets_of(10, size)), rtol=0, atol=CLOSE)
    assert found.dtype == np.float32
    assert made == [size]
    assert all(module.training for module in recommender.model.modules())


def test_sums_are_made_once_a_size(made: list[int]) -> None:
    recommender, history = network_of(), history_of(10)
    deleting = recommender.deleting(history)
    for size in (1, 1, 2, 2, 1):
        some = sets_of(10, size)[::3]
        np.testing.assert_allclose(deleting(some), by_scores(recommender, history, some), rtol=0, atol=CLOSE)
    assert made == [1, 2, 1]


def test_a_caller_may_have_torch_compute_in_short_floats() -> None:
    recommender, history = network_of(), history_of(10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = recommender.deleting(history)(sets_of(10, 2))
        expected = by_scores(recommender, history, sets_of(10, 2))
    np.testing.assert_allclose(found, expected, rtol=0.1, atol=0.5)


def outweighing(by: float) -> tuple[NetworkRecommender, np.ndarray, Places]:
    """In the first layer's attention one item is looked at `by` more, in logits, than any other."""
    recommender, history = network_of(heads=1), np.arange(1, 11)
    first = recommender.model.encoder.layers[0].attention
    with torch.no_grad():
        recommender.model.encoder.item_embedding.weight[5] = 0
        recommender.model.encoder.item_embedding.weight[5, 0] = 1e4  # beside which its place is nothing
        state = recommender.model.encoder.eval().at(torch.tensor([5]), torch.tensor([3]))[0]
        first.query.weight.zero_()
        first.query.bias.copy_(state)
        first.key.weight.copy_(torch.eye(8) * by * 8**0.5 / state.square().sum())
    return recommender, history, sets_of(10, 2)


@pytest.mark.parametrize(("by", "n_unsure"), [(5, 0), (40, 0), (100, 9), (300, 9)])
def test_what_a_deleted_item_outweighs_is_not_lost(
    by: float, n_unsure: int, monkeypatch: pytest.MonkeyPatch, made: list[int]
) -> None:
    recommender, history, places = outweighing(by)
    scored, scores = [0], NetworkRecommender.scores

    def counting(self: NetworkRecommender, histories: Any) -> np.ndarray:
        scored.append(len(histories))
        return scores(self, histories)

    expected, deleting = by_scores(recommender, history, places), recommender.deleting(history)
    deleting(places[:2])  # makes the sums, and looks whether they are right
    monkeypatch.setattr(NetworkRecommender, "scores", counting)
    np.testing.assert_allclose(deleting(places), expected, rtol=CLOSE / 5, atol=CLOSE)
    assert sum(scored) == n_unsure  # those without the item
    assert made == [2]


def longer(recommender: NetworkRecommender) -> tuple[NetworkRecommender, np.ndarray, int]:
    return recommender, history_of(14), 2


@pytest.mark.parametrize(
    "case",
    [
        lambda: (network_of(SASRec, heads=1), history_of(9), 2),
        lambda: (network_of(layers=1), history_of(10), 2),
        lambda: longer(network_of()),  # than the window
        lambda: (network_of(), np.array([3, 0, 4, 5, 6]), 2),  # a place that is empty
        lambda: (network_of(), history_of(4), 4),  # all of them
        lambda: (NetworkRecommender(network_of().model.double()), history_of(10), 2),
    ],
    ids=["causal", "one layer", "longer than the window", "an empty place", "nothing left", "float64"],
)
def test_where_no_sums_can_be_made_histories_are_scored(
    case: Callable[[], tuple[NetworkRecommender, np.ndarray, int]], tried: list[int]
) -> None:
    recommender, history, size = case()
    places = sets_of(len(history), size)
    np.testing.assert_array_equal(recommender.deleting(history)(places), by_scores(recommender, history, places))
    assert tried == []


@pytest.mark.parametrize(("name", "value"), [("WORTH_SUMS", 46), ("SUMS", Deletions.n_bytes)])
def test_sums_that_are_too_large_or_for_too_few_are_not_made(
    name: str, value: Any, monkeypatch: pytest.MonkeyPatch, made: list[int]
) -> None:
    recommender, history = network_of(), history_of(10)
    deleting, places = recommender.deleting(history), sets_of(10, 2)
    if callable(value):
        value = value(recommender.model.encoder, 11, 2) - 1
    monkeypatch.setattr(network_module, name, value)
    deleting(places)
    assert made == []
    monkeypatch.setattr(network_module, name, value + (1 if name == "SUMS" else -1))
    deleting(places)
    assert made == [2]


def test_sums_are_as_large_as_is_said() -> None:
    encoder = network_of().model.encoder.eval()
    with torch.inference_mode():
        sums = Deletions(encoder, torch.arange(1, 12), 3)
    assert sums._tables.nbytes == Deletions.n_bytes(encoder, 11, 3)


# The verdict


def question_of(recommender: Any, seed: int = 0, **options: Any) -> Question:
    return ask(recommender, history_of(10, seed), Options("leaves", k=3, **options))


def gaps_one_by_one(recommender: Any, asked: list[tuple[Question, Any]]) -> list[float]:
    return [float(question.gaps(recommender.scores([question.without(one)]))[0][0]) for question, one in asked]


def test_many_deletions_of_a_question_are_left_to_the_recommender(made: list[int]) -> None:
    recommender = network_of()
    first, second, third = (question_of(recommender, seed) for seed in (0, 1, 2))
    asked = [
        *((first, pair) for pair in combinations(first.removable, 2)),
        *((second, (position,)) for position in range(3)),  # too few
        *((third, one) for size in (1, 2) for one in list(combinations(third.removable, size))[:5]),  # of two sizes
        *((second, triple) for triple in combinations(second.removable, 3)),
    ]
    np.testing.assert_allclose(measured(recommender, asked), gaps_one_by_one(recommender, asked), rtol=0, atol=CLOSE)
    assert made == [2, 3]
    measured(recommender, asked)
    assert made == [2, 3]  # kept with their questions


@pytest.mark.parametrize("removal", ["pad", "mask", "backfill"])
def test_other_removals_are_scored_as_histories(removal: str, made: list[int]) -> None:
    recommender = network_of()
    question = question_of(recommender, removal=removal)
    asked = [(question, pair) for pair in combinations(question.removable, 2)]
    np.testing.assert_allclose(measured(recommender, asked), gaps_one_by_one(recommender, asked), rtol=0, atol=CLOSE)
    assert made == []


def test_a_locked_or_unseen_item_moves_no_place(made: list[int]) -> None:
    recommender = network_of()
    question = ask(recommender, history_of(17), Options("leaves", k=3, min_age=3, locked=(str(history_of(17)[9]),)))
    assert question.n_unseen == 7
    asked = [(question, pair) for pair in combinations(question.removable, 2)]
    np.testing.assert_allclose(measured(recommender, asked), gaps_one_by_one(recommender, asked), rtol=0, atol=CLOSE)
    assert made == [2]


def test_another_recommender_makes_its_own(made: list[int]) -> None:
    one, other = network_of(), network_of(heads=1)
    question = question_of(one)
    asked = [(question, pair) for pair in combinations(question.removable, 2)]
    for recommender in (one, other, one):
        gaps = gaps_one_by_one(recommender, asked)
        np.testing.assert_allclose(measured(recommender, asked), gaps, rtol=0, atol=CLOSE)
    assert made == [2, 2, 2]


def test_sums_go_with_their_question() -> None:
    recommender = network_of()
    question = question_of(recommender)
    measured(recommender, [(question, pair) for pair in combinations(question.removable, 2)])
    n_kept = len(verdicts._deleting)
    del question
    gc.collect()
    assert len(verdicts._deleting) == n_kept - 1


class Halved(NetworkRecommender):
    def scores(self, histories: Any) -> np.ndarray:
        return super().scores(histories) / 2


class Patient(Halved):
    def deleting(self, history: np.ndarray) -> Callable[[Places], np.ndarray]:
        return lambda places: by_scores(self, history, places)


def test_whoever_changes_scores_alone_is_asked_for_scores(made: list[int]) -> None:
    model = network_of().model
    patched = NetworkRecommender(model)
    patched.scores = lambda histories: NetworkRecommender.scores(patched, histories) / 2  # type: ignore[method-assign]
    kinds = [NetworkRecommender(model), Patient(model), Halved(model), Wrapper(NetworkRecommender(model)), patched]
    assert [can_delete(kind) for kind in kinds] == [True, True, False, False, False]
    for recommender in kinds[1:]:
        question = question_of(recommender)
        asked = [(question, pair) for pair in combinations(question.removable, 2)]
        gaps = gaps_one_by_one(recommender, asked)
        np.testing.assert_allclose(measured(recommender, asked), gaps, rtol=0, atol=CLOSE)
    assert made == []


@pytest.mark.parametrize(
    ("scores", "words"),
    [(np.zeros((3, N_ITEMS + 1)), "of shape"), (np.full((45, N_ITEMS + 1), np.nan), "NaN or infinity")],
)
def test_what_a_recommender_makes_of_deletions_is_checked(scores: np.ndarray, words: str) -> None:
    class Wrong(NetworkRecommender):
        def deleting(self, _: np.ndarray) -> Callable[[Places], np.ndarray]:
            return lambda _: scores

    recommender = Wrong(network_of().model)
    question = question_of(recommender)
    with pytest.raises(OptionError, match=words):
        measured(recommender, [(question, pair) for pair in combinations(question.removable, 2)])


@pytest.mark.parametrize("change", ["top1", "leaves", "list"])
def test_explanations_are_the_same_either_way(change: str, monkeypatch: pytest.MonkeyPatch, made: list[int]) -> None:
    recommender, options = network_of(), Options(change, k=3, max_evaluations=150)
    people = [Person(str(seed), history_of(9, seed).tolist()) for seed in range(12)]
    explained = [explain_case(recommender, person, Exhaustive(), options).explanation for person in people]
    assert made
    monkeypatch.setattr(verdicts, "MANY", 10**9)
    plainly = [explain_case(recommender, person, Exhaustive(), options).explanation for person in people]
    assert explained == plainly
    assert len({one.proven_size for one in explained}) > 1


class Turned(BERT4Rec):
    def predict(self, items: torch.Tensor) -> torch.Tensor:
        return -super().predict(items)


class Forgetful(NetworkRecommender):
    def _padded(self, histories: Any, *, mask: int | None = None) -> torch.Tensor:
        return super()._padded([history[-4:] for history in histories], mask=mask)


def turned_at_hand(monkeypatch: pytest.MonkeyPatch) -> NetworkRecommender:
    recommender = network_of()
    predict = recommender.model.predict
    monkeypatch.setattr(recommender.model, "predict", lambda items: -predict(items))
    return recommender


def patched_class(monkeypatch: pytest.MonkeyPatch) -> NetworkRecommender:
    scores = NetworkRecommender.scores
    monkeypatch.setattr(NetworkRecommender, "scores", lambda self, histories: -scores(self, histories).clip(-9))
    return network_of()


def made_causal(_: pytest.MonkeyPatch) -> NetworkRecommender:
    recommender = network_of()
    recommender.model.encoder.causal = True
    return recommender


@pytest.mark.parametrize(
    "build",
    [
        lambda _: network_of(Turned),
        lambda _: Forgetful(network_of().model),
        turned_at_hand,
        patched_class,
        made_causal,
    ],
    ids=["predict", "padding", "predict at hand", "scores of the class", "causal"],
)
def test_what_scores_otherwise_is_not_scored_from_sums(
    build: Callable[[pytest.MonkeyPatch], NetworkRecommender],
    monkeypatch: pytest.MonkeyPatch,
    made: list[int],
    tried: list[int],
) -> None:
    recommender = build(monkeypatch)
    question = question_of(recommender)
    for size in (2, 3):
        asked = [(question, some) for some in combinations(question.removable, size)]
        gaps = gaps_one_by_one(recommender, asked)
        np.testing.assert_allclose(measured(recommender, asked), gaps, rtol=0, atol=CLOSE)
    assert made == []
    assert tried == [2]  # and not again


def test_candidates_may_come_in_any_order_and_kind(made: list[int]) -> None:
    recommender = network_of()
    question = question_of(recommender)
    pairs = list(combinations(question.removable, 2))
    for asked in ([(question, pair[::-1]) for pair in pairs], [(question, tuple(map(np.uint8, p))) for p in pairs]):
        np.testing.assert_allclose(measured(recommender, asked), gaps_one_by_one(recommender, asked), atol=CLOSE)
    assert made == [2]
