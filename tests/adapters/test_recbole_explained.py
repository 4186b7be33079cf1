"""Explanations of RecBole's models: what they see, their attention, threads and processes."""

import pickle
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import recexplain
from recexplain.adapters.recbole import AttentiveRecBoleRecommender, RecBoleRecommender
from recexplain.adapters.recbole_models import MODELS
from recexplain.counterfactual import Options, ask
from recexplain.recommender import top_items

pytestmark = pytest.mark.usefixtures("one_thread")

ATTENTIVE = [name for name, kind in MODELS.items() if kind.attends]
HISTORY = [f"i{n}" for n in (3, 12, 5, 25, 20, 10)]


def attentive(folder: Path, name: str) -> AttentiveRecBoleRecommender:
    found = recexplain.load(folder / f"{name}.pth")
    assert isinstance(found, AttentiveRecBoleRecommender)
    return found


def n_hooks(module: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in module.modules())


@pytest.mark.parametrize("name", ATTENTIVE)
@pytest.mark.parametrize("explainer", ["causal", "cleann", "attention"])
def test_explainers_of_attention_explain_and_hold(name: str, explainer: str, written: Path) -> None:
    recommender = attentive(written, name)
    found = recexplain.explain(recommender, HISTORY, change="list", k=4, tau=0.25, explainer=explainer)
    assert found.status != "error"
    assert recexplain.verify(recommender, [found]) == []
    assert found.n_graphs == {"causal": 2, "cleann": 2, "attention": 0}[explainer] * (2 if name == "FDSA" else 1)
    assert n_hooks(recommender.module) == 0


def test_models_without_attention_have_the_other_explainers_and_a_sentence_for_these(written: Path) -> None:
    recommender = recexplain.load(written / "GRU4Rec.pth")
    for explainer in ("causal", "exhaustive", "occlusion", "recency", "random", "genetic"):
        found = recexplain.explain(recommender, HISTORY, change="list", k=4, tau=0.25, explainer=explainer)
        assert recexplain.verify(recommender, [found]) == []
    for explainer in ("cleann", "attention"):
        with pytest.raises(recexplain.OptionError, match="needs a recommender with attention"):
            recexplain.explain(recommender, HISTORY, explainer=explainer)


def sasrec_by_hand(module: nn.Module, items: Sequence[int]) -> np.ndarray:
    """(layers, heads, length, length): the arithmetic of a Transformer with RecBole's weights."""
    x = module.LayerNorm(module.item_embedding.weight[list(items)] + module.position_embedding.weight[: len(items)])
    allowed, found = torch.ones(len(items), len(items), dtype=torch.bool).tril(), []
    for layer in module.trm_encoder.layer:
        attention = layer.multi_head_attention
        heads = attention.num_attention_heads
        q, k, v = (
            part(x).reshape(len(items), heads, -1).transpose(0, 1)
            for part in (attention.query, attention.key, attention.value)
        )
        logits = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).masked_fill(~allowed, -torch.inf)
        found.append(logits.softmax(-1))
        context = (found[-1] @ v).transpose(0, 1).reshape(len(items), -1)
        x = layer.feed_forward(attention.LayerNorm(attention.dense(context) + x))
    return torch.stack(found).detach().numpy()


def test_the_attention_is_that_of_the_weights(written: Path) -> None:
    recommender = attentive(written, "SASRec")
    found = recommender.attention(np.array([4, 9, 2]), 7)
    np.testing.assert_allclose(found, sasrec_by_hand(recommender.module, [4, 9, 2, 7]), atol=1e-6)
    assert found.std() > 0.1
    assert (np.triu(found, 1) == 0).all()


@pytest.mark.parametrize("name", ATTENTIVE)
def test_the_attention_is_that_of_every_layers_own_inputs(name: str, written: Path) -> None:
    from recbole.model.layers import MultiHeadAttention

    recommender, entered = attentive(written, name), []
    for layer in recommender.module.modules():
        if isinstance(layer, MultiHeadAttention):
            layer.register_forward_pre_hook(lambda layer, args: entered.append((layer, *args)))
    found = recommender.attention(np.array([4, 9, 2]), 7)
    expected = []
    with torch.no_grad():
        for layer, states, mask in entered:
            query, key = (
                part(states).reshape(1, 4, layer.num_attention_heads, -1).transpose(1, 2)
                for part in (layer.query, layer.key)
            )
            expected.append((query @ key.transpose(2, 3) / query.shape[-1] ** 0.5 + mask).softmax(-1)[0])
    if name == "FDSA":  # items first, then features
        expected = [torch.cat(both) for both in zip(expected[:2], expected[2:], strict=True)]
    np.testing.assert_allclose(found, torch.stack(expected), atol=1e-6)


def test_fdsa_has_the_heads_of_both_encoders(written: Path) -> None:
    recommender = attentive(written, "FDSA")
    before = recommender.attention(np.array([4, 9, 2]), 7)
    assert before.shape == (2, 4, 4, 4)
    with torch.no_grad():  # it changes what the encoder of features sees
        for table in recommender.module.feature_embed_layer.parameters():
            table.add_(torch.randn(table.shape, generator=torch.Generator().manual_seed(0)))
    after = recommender.attention(np.array([4, 9, 2]), 7)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert not np.allclose(before[:, 2:], after[:, 2:])


@pytest.mark.parametrize("name", ATTENTIVE)
def test_attributions_look_into_models_that_score_one_place_of_items(name: str, written: Path) -> None:
    recommender, long = attentive(written, name), [f"i{n}" for n in (1, 2, 4, 6, 8, 9)] + HISTORY
    if not MODELS[name].has_entry:
        with pytest.raises(
            recexplain.OptionError, match=f"{name} does not score the state of one place of one encoder"
        ):
            recexplain.attribute(recommender, HISTORY, "i1", "alti")
        return
    for history in (HISTORY, long):
        n_unseen = max(recommender.n_ignored, len(history) - recommender.max_length + recommender.n_ignored)
        found = {
            method: recexplain.attribute(recommender, history, "i15", method) for method in ("alti", "raw_attention")
        }
        for scores in found.values():
            np.testing.assert_array_equal(np.isnan(scores), np.arange(len(history)) < n_unseen)
            assert len(set(scores[n_unseen:])) == len(history) - n_unseen
        if name in ("S3Rec", "SASRec"):  # the newest place, which they read, looks at the others as it does for us
            numbers = np.array([recommender.vocabulary.number_of(item) for item in history[n_unseen:]])
            own = recommender.attention(numbers[:-1], int(numbers[-1]))
            np.testing.assert_allclose(found["raw_attention"][n_unseen:], own[-1].mean(0)[-1], atol=1e-6)
    explained = recexplain.explain(recommender, HISTORY, change="list", k=4, tau=0.25, explainer="alti")
    assert recexplain.verify(recommender, [explained]) == []
    assert n_hooks(recommender.module) == 0


@pytest.mark.parametrize("name", ATTENTIVE)
def test_hooks_are_gone_after_an_error_too(name: str, written: Path) -> None:
    recommender = attentive(written, name)
    before = recommender.attention(np.array([4, 9]), 1)
    with pytest.raises((IndexError, RuntimeError)):
        recommender.attention(np.array([4, 9]), 99)
    assert n_hooks(recommender.module) == 0
    np.testing.assert_array_equal(recommender.attention(np.array([4, 9]), 1), before)


def test_attention_that_is_made_elsewhere_is_a_sentence(written: Path) -> None:
    recommender = attentive(written, "SASRec")
    for layer in recommender.module.trm_encoder.layer:
        layer.multi_head_attention.forward = lambda x, _: x
    with pytest.raises(recexplain.OptionError, match="attention must be of one shape"):
        recommender.attention(np.array([4, 9]), 1)
    assert n_hooks(recommender.module) == 0


# BERT4Rec: RecBole puts the mask behind the history and drops the oldest item for it, even where there is room


@pytest.mark.parametrize("length", [2, 3, 6, 8, 9, 12])
def test_bert4rec_never_sees_the_oldest_item_and_explanations_say_so(length: int, written: Path) -> None:
    recommender = attentive(written, "BERT4Rec")
    draw = np.random.default_rng(length)
    numbers = draw.permutation(recommender.n_items)[:length] + 1
    history = [recommender.vocabulary.id_of(int(number)) for number in numbers]
    n_unseen = max(1, length - 7)
    other = numbers.copy()
    other[:n_unseen] = draw.permutation(np.setdiff1d(np.arange(1, recommender.n_items + 1), numbers))[:n_unseen]
    np.testing.assert_array_equal(recommender.scores([numbers]), recommender.scores([other]))
    other[n_unseen] = numbers[0]
    assert not np.allclose(recommender.scores([numbers]), recommender.scores([other]), atol=1e-6)
    if length == 2:
        with pytest.raises(recexplain.OptionError, match="the recommender sees 1 item of the history"):
            recexplain.explain(recommender, history)
        return
    for removal in ("delete", "pad", "mask", "backfill"):
        found = recexplain.explain(
            recommender, history, removal=removal, change="list", k=3, tau=0.3, explainer="exhaustive"
        )
        assert found.n_unseen == n_unseen
        assert all(position >= n_unseen for position in found.positions)
        assert found.before == ids_after(recommender, numbers, numbers, 3)
        assert recexplain.verify(recommender, [found]) == []


def ids_after(recommender: RecBoleRecommender, handed: np.ndarray, history: np.ndarray, k: int) -> tuple[str, ...]:
    """The top k of what RecBole says to a history that is handed on as it is."""
    best = top_items(recommender.scores([handed])[0], history, k)
    return tuple(recommender.vocabulary.id_of(int(item)) for item in best)


def test_a_removal_from_bert4rec_is_what_recbole_says_to_the_shorter_history(written: Path) -> None:
    recommender = attentive(written, "BERT4Rec")
    numbers = np.array([recommender.vocabulary.number_of(item) for item in HISTORY])
    found = recexplain.explain(recommender, HISTORY, change="list", k=4, tau=0.25, explainer="exhaustive")
    assert found.is_found
    assert found.after == ids_after(recommender, np.delete(numbers, found.positions), numbers, 4)
    smaller = [
        set(ids_after(recommender, np.delete(numbers, some), numbers, 4)) - set(found.before)
        for size in range(1, len(found.positions))
        for some in combinations(range(1, 6), size)
    ]
    assert not any(smaller)


def test_what_is_handed_on_keeps_the_item_that_is_ignored(written: Path) -> None:
    recommender = attentive(written, "BERT4Rec")
    history = np.arange(1, 12)  # the model is handed 4 to 11, and sees 5 to 11
    candidates = [(4,), (7,), (10,)]
    handed = {
        "delete": [[4, 6, 7, 8, 9, 10, 11], [4, 5, 6, 7, 9, 10, 11], [4, 5, 6, 7, 8, 9, 10]],
        "pad": [[4, 0, 6, 7, 8, 9, 10, 11], [4, 5, 6, 7, 0, 9, 10, 11], [4, 5, 6, 7, 8, 9, 10, 0]],
        "backfill": [[3, 4, 6, 7, 8, 9, 10, 11], [3, 4, 5, 6, 7, 9, 10, 11], [3, 4, 5, 6, 7, 8, 9, 10]],
    }
    for removal, expected in handed.items():
        question = ask(recommender, history, Options(removal=removal))
        assert question.n_unseen == 4
        assert [question.without(candidate).tolist() for candidate in candidates] == expected
        assert [one.tolist() for one in question.without_each(candidates)] == expected
        assert question.removable == tuple(range(4, 11))


def test_a_person_who_cannot_be_explained_has_as_many_unseen(written: Path) -> None:
    recommender = attentive(written, "BERT4Rec")
    (found,) = recexplain.explain_many(recommender, [["i3", "none"]])
    assert (found.status, found.n_unseen) == ("error", 1)


# models that score for a user


def test_a_user_must_be_chosen_where_the_model_scores_for_one(written: Path) -> None:
    recommender = recexplain.load(written / "FPMC.pth")
    assert isinstance(recommender, RecBoleRecommender)
    with pytest.raises(recexplain.OptionError, match=r"FPMC scores for a user.*recommender.for_user\(id\)"):
        recexplain.explain(recommender, HISTORY)
    (error,) = recexplain.explain_many(recommender, [HISTORY])
    assert error.status == "error"
    first, second = (recexplain.explain(recommender.for_user(user), HISTORY, user=user) for user in ("u1", "u2"))
    assert first.before != second.before
    assert recexplain.verify(recommender.for_user("u1"), [first]) == []
    assert recexplain.verify(recommender.for_user("u2"), [first]) != []
    with pytest.raises(recexplain.UnknownIdError, match="user 'u99' is not one of the 30 users of its data"):
        recommender.for_user("u99")
    with pytest.raises(recexplain.OptionError, match="SASRec scores a history alone"):
        recexplain.load(written / "SASRec.pth").for_user("u1")
    numbered = recexplain.load(written / "FPMC.pth", items=recommender.vocabulary.ids)
    number = recommender.ids.users.number_of("u2") if recommender.ids.users else 0
    np.testing.assert_array_equal(
        numbered.for_user(number).scores([np.array([1])]), recommender.for_user("u2").scores([np.array([1])])
    )
    with pytest.raises(recexplain.UnknownIdError, match="user 'u2' is not one of the numbers 1 to 30"):
        numbered.for_user("u2")


# pipelines


def test_threads_ask_one_model_and_none_disturbs_another(written: Path) -> None:
    recommender = attentive(written, "SASRec")
    histories = [np.random.default_rng(n).permutation(recommender.n_items)[:6] + 1 for n in range(24)]
    expected = [(recommender.scores([h])[0], recommender.attention(h, 1)) for h in histories]
    started = threading.Barrier(4)

    def ask(part: int) -> list[tuple[np.ndarray, np.ndarray]]:
        started.wait()
        return [(recommender.scores([h])[0], recommender.attention(h, 1)) for h in histories[part::4]]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(ask, range(4)))
    for part, found in enumerate(parts):
        for (scores, attention), (own_scores, own_attention) in zip(expected[part::4], found, strict=True):
            np.testing.assert_array_equal(scores, own_scores)
            np.testing.assert_array_equal(attention, own_attention)
    assert n_hooks(recommender.module) == 0


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "CORE", "FEARec", "SASRecF", "GRU4Rec"])
def test_it_travels_to_workers(name: str, written: Path) -> None:
    recommender = recexplain.load(written / f"{name}.pth")
    again = pickle.loads(pickle.dumps(recommender))  # noqa: S301  our own
    histories = [np.array([1, 2, 3])]
    np.testing.assert_array_equal(again.scores(histories), recommender.scores(histories))
    assert again.model_hash == recommender.model_hash
