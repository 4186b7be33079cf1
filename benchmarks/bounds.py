"""Whether sound bounds on the score gap could close a size without scoring its sets: how loose they are.

    python benchmarks/bounds.py checkpoint=outputs/ml-100k/checkpoint.ckpt people=50

Every bound is made of norms, through BERT4Rec with two layers. `from the whole history` needs no evaluation: how far k
removals (`pad`, which leaves all others where they are) can move what each place gathers, and from there through both
layers to the score gap of `top1`. `last layer only` is handed, free of charge, how far the states behind the first
layer really move for each set, by `pad` and by `delete`: what no bound of the first layer can improve on. `its slope
alone` takes the last layer for the linear map that it is near the whole history and one competitor only, which is not
sound: no bound made of the lengths of moves can be tighter. `excluded`: sets of which the bound says that they cannot
change the answer; `true`: sets that do not change it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.checkpoint import read_checkpoint
from recexplain.counterfactual import Options, Question, ask
from recexplain.errors import OptionError
from recexplain.evaluation.config import recorded_source
from recexplain.models.attention import Layer
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.network import NetworkRecommender
from recexplain.sequences import load_dataset

GELU_SLOPE = 1.129  # the steepest that GELU is
BOUNDS = ("from the whole history", "last layer only", "its slope alone (not sound)")
SETS = 128  # whose states are held at once


@dataclass(frozen=True)
class Person:
    """What the bounds say of one person's sets of a size, and what is true: gaps, all (sets,)."""

    bounds: dict[str, Tensor]  # by `BOUNDS`: the largest gap that is possible
    true: Tensor
    before: Tensor  # (), of the whole history


@dataclass(frozen=True)
class Base:
    """What the model computes of a whole history, float64: places are its items, and last the mask."""

    x: Tensor  # (places, dim), before the first layer
    h: Tensor  # (places, dim), behind it
    gaps: Tensor  # (n_items,), each item's logit less that of the target; -inf: it does not compete
    slopes: Tensor  # (n_items,), by how much a move of 1 in the last state can raise a gap


def main(words: Sequence[str]) -> None:
    """Print the tables."""
    given = {"people": "50", "seed": "0"} | dict(word.split("=", 1) for word in words)
    checkpoint = read_checkpoint(given["checkpoint"])
    recommender = checkpoint.recommender()
    if not isinstance(recommender.model, BERT4Rec) or len(recommender.model.encoder.layers) != 2:
        raise OptionError("the bounds are made for BERT4Rec with two layers")
    recommender.model.double().eval()
    dataset = load_dataset(recorded_source(checkpoint.source))
    chosen = np.random.default_rng(int(given["seed"])).permutation(len(dataset.histories))[: int(given["people"])]
    questions = [ask(recommender, dataset.histories[int(row)].astype(np.int64), Options()) for row in sorted(chosen)]
    print(f"{len(questions)} people, change=top1, window {recommender.max_length}\n")
    print("| bound | removal | size | bound / largest true move | excluded | true | people with the size closed |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for size in (1, 2):
        for removal in ("pad", "delete"):
            with torch.no_grad():
                found = [of_person(recommender, question, removal, size) for question in questions]
            for name in BOUNDS if removal == "pad" else BOUNDS[1:]:
                print(line(f"{name} | {removal} | {size}", [one.bounds[name] for one in found], found), flush=True)


def line(label: str, bounds: Sequence[Tensor], found: Sequence[Person]) -> str:
    """Return a line of the table."""
    rises = [
        (bound.max() - one.before) / (one.true - one.before).abs().max()
        for bound, one in zip(bounds, found, strict=True)
    ]
    excluded = torch.cat([bound < 0 for bound in bounds])
    true = torch.cat([one.true <= 0 for one in found])
    assert BOUNDS[2] in label or not (excluded & ~true).any(), "the bound is not sound"
    closed = np.mean([bool((bound < 0).all()) for bound in bounds])
    ratio = np.median([float(rise) for rise in rises])
    return f"| {label} | {ratio:,.1f} | {excluded.double().mean():.2%} | {true.double().mean():.2%} | {closed:.1%} |"


def of_person(recommender: NetworkRecommender, question: Question, removal: str, size: int) -> Person:
    """Return what the bounds say of every set of a size."""
    model = cast("BERT4Rec", recommender.model)
    base = base_of(model, question)
    sets = torch.tensor(list(combinations(range(len(question.visible)), size)))
    radii = first_radii(cast("Layer", model.encoder.layers[0]), base, size)[None]
    worst = allowed_gap(model, base, radii, torch.zeros(radii.shape, dtype=torch.bool), size)
    parts = [states_without(model, question, base, part, removal) for part in sets.split(SETS)]
    last_only = [allowed_gap(model, base, moved, is_gone, 0) for moved, is_gone, _ in parts]
    slopes = slopes_of(model, base, question.target)
    by_slope = [base.gaps.max() + moved @ slopes for moved, *_ in parts]
    bounds = dict(zip(BOUNDS, (worst.expand(len(sets)), torch.cat(last_only), torch.cat(by_slope)), strict=True))
    return Person(bounds, torch.cat([gaps for *_, gaps in parts]), base.gaps.max())


def slopes_of(model: BERT4Rec, base: Base, target: int) -> Tensor:
    """Return how fast the strongest competitor's gap can rise with a move of each place's state, (places,)."""
    with torch.enable_grad():
        h = base.h.clone().requires_grad_()
        state = cast("Layer", model.encoder.layers[1])(h[None], None, asked=torch.tensor([[len(h) - 1]]))
        logits = model.logits(state[0, 0])
        (gradient,) = torch.autograd.grad(logits[base.gaps.argmax()] - logits[target - 1], h)
    return gradient.norm(dim=1)


def base_of(model: BERT4Rec, question: Question) -> Base:
    """Return the states and gaps of the whole history."""
    items = torch.tensor([[*question.visible.tolist(), model.mask_item]])
    x, allowed = model.encoder.entry(items)
    h = cast("Layer", model.encoder.layers[0])(x, allowed)[0]
    logits = model.predict(items)[0]
    gaps = logits - logits[question.target - 1]
    gaps[torch.from_numpy(question.history) - 1] = -torch.inf
    gaps[question.target - 1] = -torch.inf
    vectors = model.encoder.item_embedding.weight[1 : model.n_items + 1]
    return Base(x[0], h, gaps, (vectors - vectors[question.target - 1]).norm(dim=1))


def states_without(
    model: BERT4Rec, question: Question, base: Base, sets: Tensor, removal: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how far each state behind the first layer moves, 0 where removed; which are; the largest gaps, (sets,)."""
    kept = torch.ones(len(sets), len(base.h), dtype=torch.bool).scatter(1, sets, value=False)
    items = torch.tensor([*question.visible.tolist(), model.mask_item]).expand(len(sets), -1)
    edited = items * kept if removal == "pad" else items[kept].view(len(sets), -1)
    x, allowed = model.encoder.entry(edited)
    h = cast("Layer", model.encoder.layers[0])(x, allowed)
    if removal != "pad":
        h = torch.zeros(*kept.shape, h.shape[2], dtype=h.dtype).masked_scatter(kept[..., None], h)
    logits = model.predict(edited)
    gaps = (logits - logits[:, question.target - 1, None]).masked_fill(base.gaps.isneginf(), -torch.inf)
    return (h - base.h).norm(dim=2) * kept, ~kept, gaps.amax(1)


def first_radii(layer: Layer, base: Base, size: int) -> Tensor:
    """Return how far each state can move behind the first layer, (places,), if any `size` others are not attended.

    A head gathers o = sum a_i v_i; without S that is o + sum over S of a_i (o - v_i) / (1 - sum over S of a_i).
    """
    attention, n = layer.attention, len(base.x)
    mixed, full = attention.explain(base.x[None], torch.ones(1, 1, 1, n, dtype=torch.bool))
    values = attention._split(attention.value(base.x[None]))[0]  # (heads, places, dim of a head)
    gathered = full[0] @ values
    weights = full[0].masked_fill(torch.eye(n, dtype=torch.bool), 0)  # no place loses itself,
    weights[..., -1] = 0  # or the mask
    outputs = attention.output.weight.view(base.x.shape[1], attention.heads, -1)
    away = torch.einsum("xhd,hpid->hpix", outputs, gathered[:, :, None] - values[:, None]).norm(dim=3)
    lost = weights.topk(size, dim=2).values.sum(2)
    moved = (weights * away).topk(size, dim=2).values.sum(2) / (1 - lost).clamp(min=1e-9)
    return behind(layer, base.x + mixed[0], moved.sum(0))


def behind(layer: Layer, summed: Tensor, radius: Tensor) -> Tensor:
    """Return how far states behind a layer can move, (..., places), if the sums before its first norm move so far."""
    radius = behind_norm(layer.attention_norm, summed, radius)
    x = layer.attention_norm(summed)
    wide, _, narrow = cast("tuple[nn.Linear, nn.GELU, nn.Linear]", tuple(layer.feed_forward))
    steepest = 1 + GELU_SLOPE * spectral(wide.weight) * spectral(narrow.weight)
    return behind_norm(layer.feed_forward_norm, x + layer.feed_forward(x), steepest * radius)


def behind_norm(norm: nn.LayerNorm, x: Tensor, radius: Tensor) -> Tensor:
    """Return how far LayerNorm's values can move, (..., places), if its inputs, (places, dim), move so far.

    It is g u / s + b with u = x less its mean and s its deviation; u / s moves no faster than u by 1 / s, and no
    further than across the ball of radius sqrt(dim) that it lies in.
    """
    dim = x.shape[-1]
    length = (x - x.mean(-1, keepdim=True)).norm(dim=-1)
    least = ((length - radius).clamp(min=0) ** 2 / dim + norm.eps).sqrt()
    return norm.weight.abs().max() * (radius / least).clamp(max=2 * dim**0.5)


def allowed_gap(model: BERT4Rec, base: Base, radii: Tensor, is_gone: Tensor, size: int) -> Tensor:
    """Return the largest gaps, (sets,), that are possible if the states behind the first layer move as far as `radii`.

    `radii`, `is_gone`: (sets, places), the latter: what the last layer no longer attends; besides, any `size` places.
    """
    layer, h = cast("Layer", model.encoder.layers[1]), base.h
    attention, heads, dim = layer.attention, layer.attention.heads, h.shape[1]
    asks, keys, values = (
        part.weight.view(heads, -1, dim) for part in (attention.query, attention.key, attention.value)
    )
    query = attention.query(h[-1]).view(heads, -1) / (dim / heads) ** 0.5
    asking = torch.einsum("hd,hdx->hx", query, keys)
    turned = spectral(asks) / (dim / heads) ** 0.5 * radii[:, -1:]  # (sets, heads), how far a query can move
    keyed = torch.einsum("hdx,px->hpd", keys, h).norm(dim=2) + spectral(keys)[:, None] * radii[:, None]
    away = asking.norm(dim=1)[:, None] * radii[:, None] + turned[..., None] * keyed  # (sets, heads, places), of a logit
    weights = (asking @ h.T).softmax(1)  # the bias of the keys drops out
    lower, upper = weight_range(weights, away, is_gone[:, None], size)
    seen = torch.einsum("hdx,px->hpd", values, h)
    apart = (seen - (weights[..., None] * seen).sum(1, keepdim=True)).norm(dim=2)
    by_weights = (torch.maximum(upper - weights, weights - lower) * apart).sum(2)
    by_values = torch.minimum((upper * radii[:, None]).sum(2), radii.amax(1)[:, None])
    mixes = spectral(attention.output.weight.view(dim, heads, -1).transpose(0, 1))
    radius = radii[:, -1] + (mixes * (by_weights + spectral(values) * by_values)).sum(1)
    summed = h[-1] + attention(h[None, -1:], h[None], None)[0, 0]
    x = layer.attention_norm(summed)
    state = layer.feed_forward_norm(x + layer.feed_forward(x))
    linear, gelu, norm = cast("tuple[nn.Linear, nn.GELU, nn.LayerNorm]", tuple(model.head))
    radius = GELU_SLOPE * spectral(linear.weight) * behind(layer, summed, radius)
    return (base.gaps + base.slopes * behind_norm(norm, gelu(linear(state)), radius)[:, None]).amax(1)


def weight_range(weights: Tensor, away: Tensor, is_gone: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the least and the largest that attention weights, (heads, places), can become, (sets, heads, places)."""
    least, most = weights * (-away).exp(), weights * away.exp()
    kept = least.masked_fill(is_gone, 0)
    may_go = kept[..., :-1].topk(size, dim=2).values.sum(2, keepdim=True)
    upper = (most / (kept.sum(2, keepdim=True) - may_go).clamp(min=1e-300)).clamp(max=1).masked_fill(is_gone, 0)
    lower = (least / most.masked_fill(is_gone, 0).sum(2, keepdim=True)).masked_fill(is_gone, 0)
    return (lower if size == 0 else torch.zeros_like(lower)), upper


def spectral(matrices: Tensor) -> Tensor:
    """Return the largest factor by which each matrix lengthens a vector."""
    found: Tensor = torch.linalg.matrix_norm(matrices, 2)
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
