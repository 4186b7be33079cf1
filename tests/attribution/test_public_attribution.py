"""`recexplain.attribute`, used with one's own ids; occlusion by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from attribution_toys import bert4rec, sasrec
from toys import Attentive, Voting, Wrapper, random_votes, votes_of

import recexplain
from recexplain import OptionError, UnknownIdError
from recexplain.attribution import METHODS, attribute_many, by_item
from recexplain.attribution.beyond_intuition import BeyondIntuitionToken
from recexplain.attribution.methods import method_of
from recexplain.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = ("alien", "brazil", "casablanca", "duel", "m*a*s*h", "é", "heat", "ran", "kika", "18", "fargo")
HISTORY = ["ran", "alien", "brazil", "heat", "ran", "duel", "é", "18"]  # the window is 6


def named(recommender: Any) -> Any:
    recommender.vocabulary = Vocabulary(IDS)
    return recommender


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_a_score_an_item_that_is_seen(method: str) -> None:
    found = recexplain.attribute(named(bert4rec()), HISTORY, "kika", method)
    assert found.shape == (8,)
    assert found.dtype == np.float64
    assert np.isnan(found).tolist() == [True] * 2 + [False] * 6


def test_many_are_as_each_alone_whatever_their_order() -> None:
    recommender = named(sasrec())
    histories = [HISTORY, HISTORY[:3], HISTORY, ["kika"]]
    targets = ["kika", "kika", "fargo", "fargo"]
    for method in ("alti", "beyond_intuition_head", "occlusion"):
        many = attribute_many(recommender, histories, targets, method)
        for history, target, found in zip(histories, targets, many, strict=True):
            alone = recexplain.attribute(recommender, history, target, method)
            np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5 if method == "occlusion" else 1e-10)
    shared = attribute_many(recommender, [HISTORY] * 2, ["kika", "fargo"], "alti")  # computed once
    shared[0][:] = 0
    assert np.nansum(shared[1]) > 0.5
    assert attribute_many(recommender, [], [], "alti") == []


def test_a_method_that_does_not_depend_on_the_target_is_run_once_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    from recexplain.attribution import methods

    sizes = []
    enter = methods.network_entry
    monkeypatch.setattr(methods, "network_entry", lambda model, given: sizes.append(len(given)) or enter(model, given))
    for method, expected in (("alti", 2), ("gradient_l2", 3)):
        sizes.clear()
        attribute_many(bert4rec(), [[3, 1], [3, 1], [2]], [4, 5, 6], method)
        assert sum(sizes) == expected


def test_options_reach_the_method_and_an_instance_has_its_own() -> None:
    recommender = named(bert4rec())
    by_name = recexplain.attribute(recommender, HISTORY, "kika", "beyond_intuition_token", layers=1, quadrature="right")
    instance = BeyondIntuitionToken(layers=1, quadrature="right")
    np.testing.assert_array_equal(recexplain.attribute(recommender, HISTORY, "kika", instance), by_name)
    assert not np.allclose(
        by_name, recexplain.attribute(recommender, HISTORY, "kika", "beyond_intuition_token"), equal_nan=True
    )
    with pytest.raises(OptionError, match="give the options to BeyondIntuitionToken itself"):
        recexplain.attribute(recommender, HISTORY, "kika", instance, layers=2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "lime"}, "the attribution method must be one of alti, .*occlusion, not 'lime'"),
        ({"steps": 3}, "alti has no option 'steps'; it has second_norm, value_bias"),
        ({"method": "rollout", "steps": 3}, "rollout has no option 'steps'; it has none"),
        ({"method": "raw_attention", "layer": 2}, "layer must be one of first, last, mean, not 2"),
        ({"method": "beyond_intuition_head", "layers": 0}, "layers must be a whole number of 1 or more"),
        ({"method": "beyond_intuition_head", "steps": 1}, "steps must be a whole number of 2 or more"),
        ({"method": "beyond_intuition_head", "quadrature": "left"}, "quadrature must be one of gauss_legendre"),
        ({"method": "gradient_l2", "scalar": "loss"}, "scalar must be one of logit, log_probability, not 'loss'"),
        ({"method": "grad_cam", "scalar": "loss"}, "scalar must be one of logit"),
        ({"method": "integrated_gradients", "steps": 1.5}, "steps must be a whole number"),
        ({"method": "integrated_gradients", "max_steps": 63}, "max_steps must be a whole number not below steps, 64"),
        ({"method": "integrated_gradients", "tolerance": 0}, "tolerance must be above 0, not 0"),
        ({"method": "gradient_shap", "samples": 0}, "samples must be a whole number of 1 or more"),
        ({"method": "gradient_shap", "seed": -1}, "seed must be a whole number of 0 or more"),
        ({"method": "gradient_shap", "baseline": "mean"}, "baseline must be one of random, zero"),
        ({"method": "occlusion", "removal": "backfill"}, "removal must be one of delete, pad, mask, not 'backfill'"),
        ({"method": "occlusion", "scalar": "rank"}, "scalar must be one of logit, log_probability, probability"),
        ({"history": []}, "the history is empty"),
        ({"history": "alien"}, "a history must be a list of item ids"),
        ({"method": Voting}, "an attribution method has places or drops"),
    ],
    ids=str,
)
def test_a_wrong_question_is_answered_in_a_sentence(given: dict[str, Any], message: str) -> None:
    asked = {"history": HISTORY, "target": "kika", "method": "alti", **given}
    with pytest.raises(OptionError, match=message):
        recexplain.attribute(named(bert4rec()), **asked)


def test_an_unknown_item_is_named() -> None:
    with pytest.raises(UnknownIdError, match="item 'jaws' is not in the catalogue"):
        recexplain.attribute(named(bert4rec()), ["alien", "jaws"], "kika", "alti")
    with pytest.raises(UnknownIdError, match="item 'jaws' is not in the catalogue"):
        recexplain.attribute(named(bert4rec()), ["alien"], "jaws", "alti")
    with pytest.raises(OptionError, match="equally many, not 1 and 2"):
        attribute_many(named(bert4rec()), [["alien"]], ["kika", "ran"], "alti")


VOTES = votes_of(9, [(1, 9, 2), (2, 9, -1), (3, 9, 0.5), (3, 8, 3)])


@pytest.mark.parametrize("removal", ["delete", "pad"])
def test_occlusion_by_hand(removal: str) -> None:
    found = recexplain.attribute(Voting(VOTES, max_length=3), [4, 1, 2, 3], 9, "occlusion", removal=removal)
    np.testing.assert_array_equal(found, [np.nan, 2, -1, 0.5])
    alone = recexplain.attribute(Voting(VOTES), [1], 9, "occlusion", removal=removal)
    np.testing.assert_array_equal(alone, [2])


class Forgetful(Voting):
    """Is handed four items, and does not look at the oldest of them."""

    n_ignored = 1

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        return super().scores([history[1:] for history in histories])


@pytest.mark.parametrize("removal", ["delete", "pad"])
def test_occlusion_of_what_a_recommender_is_handed_and_does_not_look_at(removal: str) -> None:
    found = recexplain.attribute(Forgetful(VOTES, max_length=4), [5, 4, 1, 2, 3], 9, "occlusion", removal=removal)
    np.testing.assert_array_equal(found, [np.nan, np.nan, 2, -1, 0.5])


def test_what_closes_up_moves_and_what_stays_does_not() -> None:
    recommender = Voting(VOTES, decay=0.5)  # the newest counts 1, the one before a half, ...
    deleted = recexplain.attribute(recommender, [1, 3], 9, "occlusion")
    padded = recexplain.attribute(recommender, [1, 3], 9, "occlusion", removal="pad")
    np.testing.assert_array_equal(deleted, [1.0, -0.5])  # 1.5: 0.5 without the older; without the newer 2
    np.testing.assert_array_equal(padded, [1.0, 0.5])


def test_occlusion_of_probabilities_and_by_the_mask() -> None:
    with pytest.raises(OptionError, match="removal=mask needs a recommender with a mask item; Voting has none"):
        recexplain.attribute(Voting(VOTES), [1, 3], 9, "occlusion", removal="mask")
    votes = np.concatenate([VOTES, 0.25 * np.eye(1, 10, 9, dtype=np.float32)])  # the mask votes for 9 too
    masking = Voting(votes, mask_item=10)
    np.testing.assert_array_equal(recexplain.attribute(masking, [1, 3], 9, "occlusion", removal="mask"), [1.75, 0.25])
    full, without_1, without_3 = (
        np.exp(x) / np.exp(x).sum() for x in ([2.5, 3, *[0] * 7], [0.5, 3, *[0] * 7], [2, *[0] * 8])
    )
    found = recexplain.attribute(Voting(VOTES), [1, 3], 9, "occlusion", scalar="probability")
    np.testing.assert_allclose(found, [full[0] - without_1[0], full[0] - without_3[0]], rtol=1e-6)
    found = recexplain.attribute(Voting(VOTES), [1, 3], 9, "occlusion", scalar="log_probability")
    np.testing.assert_allclose(found, np.log([full[0] / without_1[0], full[0] / without_3[0]]), rtol=1e-6)


def test_against_another_item_the_difference_of_the_scores_is_explained() -> None:
    recommender, history = bert4rec(), [3, 1, 4, 2, 5]
    for name in ("gradient_input", "integrated_gradients", "occlusion"):  # linear in what is explained
        one, other = (recexplain.attribute(recommender, history, target, name) for target in (9, 7))
        found = recexplain.attribute(recommender, history, 9, name, against=7)
        np.testing.assert_allclose(found, one - other, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(recexplain.attribute(recommender, history, 7, name, against=9), -found, atol=1e-6)
    rivals = [7, 8, 7]
    many = attribute_many(recommender, [history] * 3, [9, 9, 9], "gradient_l2", against=rivals)
    for found, rival in zip(many, rivals, strict=True):
        alone = recexplain.attribute(recommender, history, 9, "gradient_l2", against=rival)
        np.testing.assert_allclose(found, alone, rtol=1e-9)
    assert not np.allclose(many[0], many[1])
    assert not np.allclose(many[0], recexplain.attribute(recommender, history, 9, "gradient_l2"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "gradient_input", "against": 9}, "against must be another item than the target"),
        ({"method": "alti", "against": 7}, "alti does not depend on the target, so against changes nothing"),
        ({"method": "gradient_l2", "against": 7, "scalar": "log_probability"}, "scalar must be logit"),
        ({"method": "occlusion", "against": 7, "scalar": "probability"}, "scalar must be logit"),
    ],
)
def test_a_comparison_that_says_nothing_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        recexplain.attribute(bert4rec(), [3, 1, 4], 9, **options)


def test_as_many_others_as_targets() -> None:
    with pytest.raises(OptionError, match="targets and against must be equally many, not 1 and 2"):
        attribute_many(bert4rec(), [[3, 1]], [9], "gradient_l2", against=[7, 8])


def test_without_a_transformer_the_sentence_says_what_works() -> None:
    recommender = Attentive(random_votes(np.random.default_rng(0), 9))
    for method in METHODS:
        if method == "occlusion":
            assert np.isfinite(recexplain.attribute(recommender, [1, 2], 3, method)).all()
            continue
        with pytest.raises(
            OptionError, match=f"{method} must look into .* Attentive shows none; .* occlusion works with it"
        ):
            recexplain.attribute(recommender, [1, 2], 3, method)


def test_what_wraps_a_network_is_looked_into_too() -> None:
    plain = recexplain.attribute(bert4rec(), [3, 1, 4], 9, "alti")
    np.testing.assert_array_equal(recexplain.attribute(Wrapper(bert4rec()), [3, 1, 4], 9, "alti"), plain)


def test_the_scores_of_a_repeated_item_are_summed() -> None:
    scores = np.array([np.nan, 1.0, 2.0, np.nan, 4.0, 0.5, 0.25, -1.0])
    found = by_item(named(bert4rec()), HISTORY, scores)
    assert list(found) == ["ran", "alien", "brazil", "heat", "duel", "é", "18"]
    assert np.isnan(found.pop("heat"))
    backwards = by_item(named(bert4rec()), HISTORY[::-1], scores[::-1])
    assert backwards["ran"] == 4.0
    assert found == {"ran": 4.0, "alien": 1.0, "brazil": 2.0, "duel": 0.5, "é": 0.25, "18": -1.0}


def test_a_method_says_what_its_scores_are() -> None:
    specific = {name for name, kind in METHODS.items() if kind.target_specific}
    signed = {name for name, kind in METHODS.items() if kind.signed}
    agnostic = {"alti", "alti_l2", "norm_rollout", "globenc", "raw_attention", "rollout", "attention_flow"}
    assert set(METHODS) - specific == agnostic
    assert signed == {"gradient_input", "integrated_gradients", "gradient_shap", "occlusion"}
    assert all(method_of(name).name == name and METHODS[name].__doc__ for name in METHODS)
