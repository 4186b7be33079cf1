"""What holds of every attribution method, whatever the network."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from attribution_toys import SIZES, bert4rec, loud, sasrec
from torch import Tensor, nn

from recexplain.attribution import decomposition
from recexplain.attribution.attention import deep_flow, short_flow
from recexplain.attribution.beyond_intuition import BeyondIntuitionHead, BeyondIntuitionToken
from recexplain.attribution.decomposition import Alti, AltiL2, GlobEnc, NormRollout, transformed
from recexplain.attribution.gradients import GradientShap, IntegratedGradients
from recexplain.attribution.methods import METHODS, PassMethod, attributions, entry_of, method_of
from recexplain.attribution.trace import Entry, Run
from recexplain.errors import OptionError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = {"rtol": 0, "atol": 1e-10}
PASSES = [name for name in METHODS if isinstance(method_of(name), PassMethod)]
SHARES = ["alti", "alti_l2", "norm_rollout", "raw_attention", "rollout", "attention_flow", "transition_attribution"]
HISTORIES = [
    np.array(items)
    for items in ([3, 1, 4, 2, 5, 9], [7], [8, 6, 4, 2, 10, 3, 5, 1, 9], [5, 5, 2], [3, 1, 4, 2, 5, 9], [1, 0, 2, 3])
]
TARGETS = np.array([11, 2, 11, 8, 7, 6])

either = pytest.mark.parametrize("build", [bert4rec, sasrec])
every_method = pytest.mark.parametrize("name", METHODS)


def places(name: str, entry: Entry, target: int = 11) -> np.ndarray:
    """(batch, places); Grad-CAM's with their sign, for the positive part may be 0 everywhere."""
    method: Any = method_of(name, {"rectified": False} if name == "grad_cam" else {})
    return method.places(entry, torch.full((len(entry.h0),), target)).detach().numpy()


def entered(recommender: Any, *histories: list[int]) -> Entry:
    return entry_of(recommender, [np.array(history) for history in histories], "a test")


@either
@every_method
def test_a_batch_gives_what_each_history_gives_alone_and_what_is_not_seen_gets_nan(
    name: str, build: Callable[..., Any]
) -> None:
    recommender, method = build(), method_of(name)
    for history in HISTORIES:
        history.setflags(write=False)
    together = attributions(recommender, HISTORIES, TARGETS, method)
    for history, target, found in zip(HISTORIES, TARGETS, together, strict=True):
        alone = attributions(recommender, [history], np.array([target]), method)[0]
        assert found.dtype == np.float64
        assert found.shape == history.shape
        near = 1e-5 if name == "occlusion" else 1e-10  # scores are float32
        np.testing.assert_allclose(found, alone, rtol=0, atol=near)
        is_seen = (np.arange(len(history)) >= len(history) - recommender.max_length) & (history > 0)
        np.testing.assert_array_equal(np.isfinite(found), is_seen)
        np.testing.assert_array_equal(np.isnan(found), ~is_seen)


@either
@pytest.mark.parametrize("name", PASSES)
def test_padding_gets_nothing_and_changes_nothing(name: str, build: Callable[..., Any]) -> None:
    recommender = build()
    padded, plain = entered(recommender, [4, 2, 9], [1, 2, 3, 4, 5, 6]), entered(recommender, [4, 2, 9])
    found = places(name, padded)
    assert padded.is_real.logical_not().sum() == 3
    assert (found[~padded.is_real.numpy()] == 0).all()
    np.testing.assert_allclose(found[0, 3:], places(name, plain)[0], **EXACT)


@pytest.mark.parametrize("name", [name for name in PASSES if name != "gradient_shap"])  # whose draws go by the history
def test_places_in_another_order_get_their_scores_in_that_order(name: str) -> None:
    entry = entered(bert4rec(), [3, 1, 4, 2, 5])
    order = [4, 2, 0, 1, 3, 5]  # the mask, which is read, stays last
    np.testing.assert_allclose(
        places(name, replace(entry, h0=entry.h0[:, order])), places(name, entry)[:, order], **EXACT
    )


@either
@every_method
def test_two_targets_differ_where_the_method_says_so_and_so_do_signs(name: str, build: Callable[..., Any]) -> None:
    recommender, method = build(), method_of(name)
    histories = [np.array([3, 1, 4, 2, 5, 9])] * 9
    found = np.stack(attributions(recommender, histories, np.arange(1, 10), method))
    assert (np.ptp(found, axis=0).max() > 1e-6) == method.target_specific
    assert (found.min() < 0) == method.signed
    assert np.ptp(found, axis=1).max() > 1e-6


@either
@pytest.mark.parametrize("name", SHARES)
def test_shares_sum_to_one_over_all_places(name: str, build: Callable[..., Any]) -> None:
    found = places(name, entered(build(), [3, 1, 4, 2, 5, 9], [7, 7]))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-12)
    assert (found >= 0).all()


@either
@pytest.mark.parametrize("name", ["alti", "alti_l2", "norm_rollout"])
def test_every_layer_gives_shares_to_every_place_and_none_to_padding(
    name: str, build: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rolled, seen = decomposition.rolled, []
    monkeypatch.setattr(
        decomposition, "rolled", lambda matrices, readout: seen.extend(matrices) or rolled(matrices, readout)
    )
    entry = entered(build(layers=3), [3, 1, 4, 2, 5, 9], [7, 7])
    places(name, entry)
    assert [matrix.shape[1] for matrix in seen] == [entry.h0.shape[1]] * 2 + [1]  # of the last layer what is read
    for matrix in seen:
        assert (matrix >= 0).all()
        is_real = entry.is_real if matrix.shape[1] > 1 else entry.is_real[:, -1:]
        np.testing.assert_allclose(matrix.sum(-1)[is_real], 1, **EXACT)
        assert (matrix[1][is_real[1]][:, ~entry.is_real[1]] == 0).all()


@either
def test_the_transformed_vectors_and_the_biases_make_up_the_block_s_output(build: Callable[..., Any]) -> None:
    for layer in entered(build(), [3, 1, 4, 2, 5, 9], [7, 7]).as_it_is().layers:
        norm = layer.block.attention_norm
        for value_bias in (True, False):
            vectors = transformed(layer, slice(None), second_norm=False, value_bias=value_bias)
            shift = layer.block.output.bias
            if not value_bias:
                shift = shift + layer.block.output.weight @ layer.block.value.bias
            deviation = (layer.summed.var(-1, unbiased=False) + norm.eps).sqrt()[..., None]
            whole = vectors.sum(2) + norm.weight * (shift - shift.mean()) / deviation + norm.bias
            np.testing.assert_allclose(whole.detach(), layer.middle.detach(), **EXACT)
        np.testing.assert_allclose(layer.attention.sum(-1).detach(), 1, **EXACT)


@either
@every_method
def test_float32_is_near_float64(name: str, build: Callable[..., Any]) -> None:
    method = method_of(name)
    exact, single = (
        np.concatenate(attributions(build(dtype=dtype), HISTORIES[:2], TARGETS[:2], method))
        for dtype in (torch.float64, torch.float32)
    )
    np.testing.assert_allclose(single, exact, rtol=0, atol=1e-4 * max(1.0, np.abs(exact).max()))


@either
def test_the_pass_is_the_recommender_s_own(build: Callable[..., Any]) -> None:
    recommender = build()
    histories = [np.array([3, 1, 4, 2, 5, 9]), np.array([7, 7]), np.array([1, 0, 2, 3])]
    run = entry_of(recommender, histories, "a test").as_it_is()
    np.testing.assert_allclose(run.logits, recommender.scores(histories), rtol=1e-5, atol=1e-5)


def test_sasrec_is_read_at_the_newest_item_whose_score_is_its_own() -> None:
    recommender = sasrec(layers=1)
    history = np.array([3, 1, 4, 2])
    found = attributions(recommender, [history], TARGETS[:1], method_of("raw_attention"))[0]
    with torch.no_grad():
        _, weights = recommender.model.eval().explain(torch.from_numpy(history)[None])
    np.testing.assert_allclose(found, weights[0, 0].mean(0)[-1], **EXACT)
    rolled = attributions(recommender, [history], TARGETS[:1], method_of("rollout"))[0]
    np.testing.assert_allclose(rolled, (found + np.eye(4)[-1]) / 2, **EXACT)
    token = BeyondIntuitionToken(self_entry=False)
    assert attributions(recommender, [history], np.array([9]), token)[0][-1] == 0


def test_of_bert4rec_the_mask_is_read_and_is_no_item() -> None:
    recommender = bert4rec(layers=1)
    history = np.array([3, 1, 4, 2])
    found = attributions(recommender, [history], TARGETS[:1], method_of("raw_attention"))[0]
    with torch.no_grad():
        _, weights = recommender.model.eval().explain(torch.tensor([[3, 1, 4, 2, 12]]))
    np.testing.assert_allclose(found, weights[0, 0].mean(0)[-1, :-1], **EXACT)
    assert found.sum() < 1 - 1e-3


def changed(entry: Entry, change: Callable[[Tensor], Tensor]) -> Entry:
    """The same, its logits changed."""

    def run(h0: Tensor, rows: Tensor) -> Run:
        before = entry.run(h0, rows)
        return replace(before, logits=change(before.logits))

    return replace(entry, run=run)


@pytest.mark.parametrize("kind", [BeyondIntuitionToken, BeyondIntuitionHead])
def test_beyond_intuition_grows_with_the_scalar_and_does_not_see_a_constant(kind: type[BeyondIntuitionToken]) -> None:
    entry, targets, method = entered(bert4rec(), [3, 1, 4, 2, 5, 9]), torch.tensor([11]), kind()
    found = method.places(entry, targets)
    assert found.max() > 1e-3
    thrice, lifted = changed(entry, lambda logits: 3 * logits), changed(entry, lambda logits: logits + 5)
    np.testing.assert_allclose(method.places(thrice, targets), 3 * found, rtol=1e-10)
    np.testing.assert_allclose(method.places(lifted, targets), found, rtol=1e-10)
    for before, after in zip(method.attended(entry, targets), method.attended(thrice, targets), strict=True):
        np.testing.assert_allclose(after.detach(), before.detach(), rtol=1e-10)


def test_with_one_layer_and_head_beyond_intuition_is_attention_times_feedback() -> None:
    entry, method = entered(bert4rec(layers=1, heads=1), [3, 1, 4, 2]), BeyondIntuitionHead()
    attention = entry.as_it_is().layers[0].attention[0, 0]
    feedback = method.feedback(entry, torch.tensor([11]))[0]
    expected = (torch.eye(5) + attention)[-1] * feedback
    np.testing.assert_allclose(places("beyond_intuition_head", entry)[0], expected.detach(), **EXACT)
    assert feedback.max() > 0


def test_beyond_intuition_keeps_signs_where_asked_and_converges_with_the_steps() -> None:
    entry, targets = entered(bert4rec(), [3, 1, 4, 2, 5, 9]), torch.tensor([11])
    signed = BeyondIntuitionToken(rectified=False).places(entry, targets)
    assert signed.min() < 0
    exact = BeyondIntuitionToken(steps=200).feedback(entry, targets)
    for quadrature, order in (("midpoint", 1.9), ("right", 0.9), ("linspace", 0.9)):
        errors = [
            float(
                (BeyondIntuitionToken(steps=steps, quadrature=quadrature).feedback(entry, targets) - exact).abs().max()
            )
            for steps in (200, 400)
        ]
        assert errors[1] < errors[0] / 2**order, quadrature
    assert (BeyondIntuitionToken(steps=40).feedback(entry, targets) - exact).abs().max() < 1e-6


def test_the_head_s_importance_is_even_where_no_head_has_any() -> None:
    entry = changed(entered(bert4rec(), [3, 1, 4]), lambda logits: 0 * logits)
    attended = BeyondIntuitionHead().attended(entry, torch.tensor([11]))
    expected = [layer.attention.mean(1) for layer in entry.as_it_is().layers]
    for found, mean in zip(attended, expected, strict=True):
        np.testing.assert_allclose(found.detach(), mean.detach(), **EXACT)


def with_value_bias_moved(recommender: Any) -> Any:
    """The same recommender: the bias of the values goes through W_O into that of the output."""
    with torch.no_grad():
        for layer in recommender.model.encoder.layers:
            moved = layer.attention.output.weight @ layer.attention.value.bias
            layer.attention.output.bias += moved
            layer.attention.value.bias.zero_()
    return recommender


@pytest.mark.parametrize("kind", [Alti, AltiL2, NormRollout, GlobEnc, BeyondIntuitionToken, BeyondIntuitionHead])
def test_where_the_value_bias_stands_matters_unless_it_belongs_to_nobody(kind: Any) -> None:
    history, target = [np.array([3, 1, 4, 2, 5])], np.array([11])
    before, after = bert4rec(), with_value_bias_moved(bert4rec())
    np.testing.assert_allclose(before.scores(history), after.scores(history), rtol=1e-5, atol=1e-5)
    for value_bias in (True, False):
        one, other = (attributions(model, history, target, kind(value_bias=value_bias))[0] for model in (before, after))
        assert np.allclose(one, other, rtol=0, atol=1e-9) != value_bias


def test_where_no_place_comes_near_alti_gives_it_to_the_place_itself(caplog: pytest.LogCaptureFixture) -> None:
    recommender = bert4rec(layers=1, heads=1)
    encoder = recommender.model.encoder
    with torch.no_grad():  # every place enters as the same vector h, and the block turns it round: y goes along -2 h
        encoder.item_embedding.weight.copy_(encoder.item_embedding.weight[1].clone())
        encoder.position_embedding.weight.zero_()
        h = encoder.entry(torch.tensor([[1]]))[0][0, 0] if not recommender.model.eval().training else None
        attention, norm = encoder.layers[0].attention, encoder.layers[0].attention_norm
        attention.output.weight.zero_()
        attention.output.bias.copy_(-3 * h)
        norm.bias.zero_()
    entry = entered(recommender, [3, 1, 4])
    np.testing.assert_array_equal(places("alti", entry), [[0, 0, 0, 1]])
    assert "no place comes near" in caplog.text


def test_integrated_gradients_sum_to_the_difference_of_the_scores_or_refuse() -> None:
    entry, targets = entered(bert4rec(), [3, 1, 4, 2, 5, 9], [7, 2]), torch.tensor([11, 3])
    found = IntegratedGradients().places(entry, targets).sum(1)
    ends = [entry.run(x, entry.rows).explained(targets, "logit") for x in (entry.h0, 0 * entry.h0)]
    np.testing.assert_allclose(found, (ends[0] - ends[1]).detach(), rtol=1e-5)
    with pytest.raises(
        OptionError, match=r"integrated gradients of 2 steps miss the difference .* give a larger max_steps"
    ):
        IntegratedGradients(steps=2, max_steps=3, tolerance=1e-4).places(entry, targets)
    doubled = IntegratedGradients(steps=2, tolerance=1e-4).places(entry, targets).sum(1)
    np.testing.assert_allclose(doubled, found, rtol=2e-4, atol=2e-4)


def with_item_vectors(recommender: Any, share: float) -> Any:
    """The same recommender, the vectors of its items multiplied; those of padding and mask stay."""
    with torch.no_grad():
        recommender.model.encoder.item_embedding.weight[1:12] *= share
    return recommender


@either
def test_on_the_path_of_the_items_only_their_vectors_grow(build: Callable[..., Any]) -> None:
    histories = [3, 1, 4, 2, 5, 9], [7, 2]
    entry, rows = entered(build(), *histories), torch.tensor([1, 0])
    assert entry.items is not None
    for share in (0.0, 0.3, 1.0):
        expected = entered(with_item_vectors(build(), share), *histories)
        found = entry.items.enter(share * entry.items.vectors[rows], rows).detach()
        is_real = entry.is_real[rows]
        np.testing.assert_allclose(found[is_real], expected.h0[rows][is_real], **EXACT)


@either
def test_integrated_gradients_along_the_items_sum_to_what_the_items_bring(build: Callable[..., Any]) -> None:
    entry, targets = entered(build(), [3, 1, 4, 2, 5, 9], [7, 2]), torch.tensor([11, 3])
    found = IntegratedGradients(path="items", tolerance=1e-5).places(entry, targets)
    assert entry.items is not None
    nothing = entry.items.enter(0 * entry.items.vectors, entry.rows)
    ends = [entry.run(x, entry.rows).explained(targets, "logit").detach() for x in (entry.h0, nothing)]
    np.testing.assert_allclose(found.sum(1), ends[0] - ends[1], rtol=1e-4, atol=1e-4)
    assert (found[entry.positions < 0] == 0).all()  # neither padding nor the mask is an item
    assert not np.allclose(found, IntegratedGradients().places(entry, targets))


@pytest.mark.parametrize("kind", [BeyondIntuitionToken, BeyondIntuitionHead])
def test_the_feedback_may_go_along_the_items(kind: type[BeyondIntuitionToken]) -> None:
    entry, targets = entered(bert4rec(), [3, 1, 4, 2, 5, 9]), torch.tensor([11])
    method = kind(path="items", steps=2, quadrature="right", rectified=False)
    assert entry.items is not None
    expected = torch.zeros(1, 7, dtype=torch.float64)
    for share in (0.5, 1.0):
        run = entry.run(entry.items.enter(share * entry.items.vectors, entry.rows), entry.rows)
        (gradient,) = torch.autograd.grad(run.logits[:, 11].sum(), [run.layers[-1].attention])
        expected += gradient[:, :, -1].mean(1) / 2
    np.testing.assert_allclose(method.feedback(entry, targets), expected, **EXACT)


def test_a_path_of_the_items_needs_their_vectors_and_an_unknown_one_is_refused() -> None:
    entry = replace(entered(bert4rec(), [3, 1, 4]), items=None)
    for method in (IntegratedGradients(path="items"), BeyondIntuitionHead(path="items")):
        with pytest.raises(OptionError, match="path=items needs a recommender that shows the vectors of its items"):
            method.places(entry, torch.tensor([11]))
    for kind in (IntegratedGradients, BeyondIntuitionToken, BeyondIntuitionHead):
        with pytest.raises(OptionError, match="path must be one of h0, items, not 'all'"):
            kind(path="all")


def test_the_scalar_may_be_the_log_probability() -> None:
    entry, targets = entered(bert4rec(), [3, 1, 4, 2, 5, 9]), torch.tensor([11])
    ends = [entry.run(x, entry.rows).logits[:, 1:].log_softmax(-1)[:, 10] for x in (entry.h0, 0 * entry.h0)]
    found = IntegratedGradients(scalar="log_probability").places(entry, targets).sum(1)
    np.testing.assert_allclose(found, (ends[0] - ends[1]).detach(), rtol=1e-5)
    shifted = changed(entry, lambda logits: logits + logits[:, 3:4])  # lifts all items alike
    again = IntegratedGradients(scalar="log_probability").places(shifted, targets)
    np.testing.assert_allclose(again.sum(1), found, rtol=1e-5)


@pytest.mark.parametrize("baseline", ["random", "zero"])
def test_gradient_shap_sums_to_the_score_less_the_baselines_in_the_mean(baseline: str) -> None:
    recommender, history, target = bert4rec(), np.array([3, 1, 4, 2, 5, 9]), torch.tensor([11])
    entry = entry_of(recommender, [history], "a test")
    method = GradientShap(samples=4000, baseline=baseline)
    draw = np.random.default_rng(1)
    others = entry.enter([draw.integers(1, 12, 6) for _ in range(4000)]) if baseline == "random" else None
    with torch.no_grad():
        score = entry.as_it_is().logits[0, 11]
        base = others.as_it_is().logits[:, 11] if others else entry.run(0 * entry.h0, entry.rows).logits[:, 11]
    expected, spread = score - base.mean(), float(base.std()) if others else 1.0
    assert abs(float(method.places(entry, target).sum() - expected)) < 6 * spread / 4000**0.5
    if baseline == "zero":  # then it is integrated gradients, by chance
        integrated = IntegratedGradients().places(entry, target)
        np.testing.assert_allclose(method.places(entry, target), integrated, atol=0.02 * float(integrated.abs().max()))
    few, others_drawn = GradientShap(samples=3, baseline=baseline), GradientShap(samples=3, seed=1, baseline=baseline)
    assert not np.allclose(few.places(entry, target), others_drawn.places(entry, target))


def test_the_flow_through_two_layers_is_the_largest_flow() -> None:
    draw = np.random.default_rng(0)
    capacities = [draw.dirichlet(np.full(7, 0.5), 7) / 2 + np.eye(7) / 2 for _ in range(2)]
    found = short_flow([torch.from_numpy(matrix)[None] for matrix in capacities], torch.tensor([4]))[0]
    np.testing.assert_allclose(found, deep_flow(capacities, 4, range(7)), **EXACT)


def test_the_flow_through_three_layers_by_hand() -> None:
    first = np.array([[1.0, 0.0], [0.5, 0.5]])
    second = np.array([[0.25, 0.75], [1.0, 0.0]])
    last = np.array([[1.0, 0.0], [0.5, 0.5]])
    # To place 0: through 0 and 0 a quarter, through 0 and 1 a quarter (what 0 has left of its half is 1/4, and 1 lets a
    # half through), through 1 and 0 a half: together 1. To place 1, by 1 only, which the last layer's 0 feeds: a half.
    np.testing.assert_allclose(deep_flow([first, second, last], 1, [0, 1]), [1.0, 0.5])


class Broken(nn.Module):
    def forward(self, _: Tensor) -> Tensor:
        raise RuntimeError("broken")


@either
@pytest.mark.parametrize("name", ["alti", "beyond_intuition_head", "integrated_gradients", "transition_attribution"])
def test_hooks_and_flags_are_as_before_after_an_error_too(name: str, build: Callable[..., Any]) -> None:
    model = build(dropout=0.3).model.train()
    model.encoder.layers[0].eval()
    flags = [module.training for module in model.modules()]
    recommender, method = NetworkRecommender(model), method_of(name)
    found = attributions(recommender, HISTORIES[:1], TARGETS[:1], method)[0]
    np.testing.assert_array_equal(found, attributions(recommender, HISTORIES[:1], TARGETS[:1], method)[0])
    kept = model.encoder.layers[1].feed_forward
    model.encoder.layers[1].feed_forward = nn.Sequential(kept[0], kept[1], kept[2], Broken())
    with pytest.raises(RuntimeError, match="broken"):
        attributions(recommender, HISTORIES[:1], TARGETS[:1], method)
    model.encoder.layers[1].feed_forward = kept
    assert [module.training for module in model.modules()] == flags
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_frozen_weights_are_no_hindrance() -> None:
    recommender = bert4rec()
    before = attributions(recommender, HISTORIES[:1], TARGETS[:1], method_of("beyond_intuition_head"))[0]
    recommender.model.requires_grad_(False)
    for name in PASSES:
        found = attributions(recommender, HISTORIES[:1], TARGETS[:1], method_of(name))[0]
        assert np.isfinite(found).all()
    again = attributions(recommender, HISTORIES[:1], TARGETS[:1], method_of("beyond_intuition_head"))[0]
    np.testing.assert_array_equal(again, before)


def test_a_block_of_another_form_is_refused() -> None:
    model = loud(BERT4Rec(**{**SIZES, "dropout": 0.0})).double()
    attention = model.encoder.layers[0].attention
    plain = attention.explain

    def louder(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        mixed, weights = plain(*arguments)
        return 1.01 * mixed, weights

    attention.explain = louder
    recommender = NetworkRecommender(model)
    for name in ("alti", "globenc", "beyond_intuition_token"):
        with pytest.raises(OptionError, match="not LayerNorm"):
            attributions(recommender, HISTORIES[:1], TARGETS[:1], method_of(name))
