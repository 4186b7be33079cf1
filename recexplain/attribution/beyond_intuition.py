"""Beyond Intuition (Chen et al., TMLR 2023): attention perception times reasoning feedback, at the readout's row."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recexplain.attribution.attention import rolled
from recexplain.attribution.decomposition import check_form
from recexplain.attribution.paths import check_path, path_of
from recexplain.attribution.trace import Entry, LayerTrace, Run, check_scalar, gradients, passes
from recexplain.errors import OptionError, is_whole

QUADRATURES = ("gauss_legendre", "midpoint", "right", "linspace")


@dataclass(frozen=True)
class BeyondIntuitionToken:
    """Token-wise: a place's attention counts by how much its value map lengthens it, |W_O v_j| / |h_j|.

    score[j] = P[t, j] F[j].  P = (I + B^L) ... (I + B^1), B^l[i, j] = mean_h A_h[i, j] |W_O v_j| / |h_j|.
    F[j] = mean_h relu(integral over alpha in (0, 1) of d scalar / d A^L_h[t, j], where h^0 is scaled by alpha).
    `path="items"` scales the items' vectors alone: positions and the mask stay.
    The paper's released code takes the last 4 layers of 12, `quadrature="linspace"` (20 points from 0 to 1, both
    included) and `self_entry=False`.
    """

    name: ClassVar[str] = "beyond_intuition_token"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = False  # unless it is not rectified

    layers: int | None = None  # how many of the last layers the perception goes through; null: all
    steps: int = 20  # points of the path from nothing to the input
    quadrature: str = "gauss_legendre"  # gauss_legendre, midpoint, right (k / steps), linspace (0 to 1, both included)
    self_entry: bool = True  # false: the readout's own place counts 0 (it is the newest item where there is no mask)
    rectified: bool = True  # false: F keeps its sign
    value_bias: bool = True  # the bias of the values belongs to the places; false: to nobody, as that of the output
    scalar: str = "logit"  # logit or log_probability
    path: str = "h0"  # what alpha scales: h0, or items, the items' vectors alone

    def __post_init__(self) -> None:
        if self.layers is not None and not is_whole(self.layers, 1):
            raise OptionError(f"layers must be a whole number of 1 or more, or null for all, not {self.layers!r}")
        if not is_whole(self.steps, 2):
            raise OptionError(f"steps must be a whole number of 2 or more, not {self.steps!r}")
        if self.quadrature not in QUADRATURES:
            raise OptionError(f"quadrature must be one of {', '.join(QUADRATURES)}, not {self.quadrature!r}")
        check_scalar(self.scalar)
        check_path(self.path)

    def places(self, entry: Entry, targets: Tensor) -> Tensor:
        """(batch, places), 0 or more if rectified; padding 0."""
        matrices = self.attended(entry, targets)
        matrices = matrices[-(self.layers or len(matrices)) :]
        one = torch.eye(entry.h0.shape[1], dtype=entry.h0.dtype, device=entry.h0.device)
        perceived = rolled([one + matrix for matrix in matrices], entry.readout)
        scores = perceived * self.feedback(entry, targets)  # of padding nothing is perceived
        if not self.self_entry:
            scores[entry.rows, entry.readout] = 0
        return scores

    def attended(self, entry: Entry, _: Tensor) -> list[Tensor]:
        """Return B of each layer, (batch, places, places)."""
        with torch.no_grad():
            return [_token_wise(layer, value_bias=self.value_bias) for layer in entry.as_it_is().layers]

    def feedback(self, entry: Entry, targets: Tensor) -> Tensor:
        """Return F, (batch, places)."""
        (alphas, weights), path = points(self.steps, self.quadrature), path_of(entry, self.path)
        batch, places, _ = entry.h0.shape
        summed: Tensor | None = None
        for copies, rows in passes(entry, len(alphas)):
            alpha, weight = (torch.from_numpy(x).to(entry.h0)[copies] for x in (alphas, weights))
            with torch.enable_grad():
                point = (alpha[:, None, None] * path.end[rows]).requires_grad_()
                run = entry.run(path.enter(point, rows), rows)
                (gradient,) = _attention_gradients(run, targets[rows], self.scalar, [-1], value_bias=self.value_bias)
            if summed is None:
                summed = gradient.new_zeros(batch, gradient.shape[1], places)
            of_readout = gradient[torch.arange(len(rows), device=rows.device), :, entry.readout[rows]]
            summed.index_add_(0, rows, weight[:, None, None] * of_readout)
        assert summed is not None
        return (summed.clamp(min=0) if self.rectified else summed).mean(1)


@dataclass(frozen=True)
class BeyondIntuitionHead(BeyondIntuitionToken):
    """Head-wise: the heads of a layer count by their importance for the target.

    As `BeyondIntuitionToken`, with B^l = sum_h I_h A_h, I_h = mean_ij |(A_h^T G_h)[i, j]| over their sum, G_h being
    d scalar / d A_h at the input itself. The mean is over real places only, so that padding changes nothing; where no
    head has any, they count alike. The paper's released code takes the last layer only.
    """

    name: ClassVar[str] = "beyond_intuition_head"

    def attended(self, entry: Entry, targets: Tensor) -> list[Tensor]:
        """Return B of each layer, (batch, places, places)."""
        with torch.enable_grad():
            run = entry.run(entry.h0.clone().requires_grad_(), entry.rows)
            wanted = range(len(run.layers))
            found = _attention_gradients(run, targets, self.scalar, wanted, value_bias=self.value_bias)
        with torch.no_grad():
            return [
                _head_wise(layer, gradient, entry.is_real) for layer, gradient in zip(run.layers, found, strict=True)
            ]


def points(steps: int, quadrature: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the points in [0, 1] at which gradients are taken, and their weights, (steps,) each.

    >>> points(2, "right")[0].tolist(), points(2, "midpoint")[0].tolist(), points(3, "linspace")[0].tolist()
    ([0.5, 1.0], [0.25, 0.75], [0.0, 0.5, 1.0])
    """
    if quadrature == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        return (nodes + 1) / 2, weights / 2
    numbers = np.arange(1, steps + 1)
    even = {"midpoint": (numbers - 0.5) / steps, "right": numbers / steps, "linspace": (numbers - 1) / (steps - 1)}
    return even[quadrature], np.full(steps, 1 / steps)


def head_importance(attention: Tensor, gradient: Tensor, is_real: Tensor) -> Tensor:
    """(batch, heads), sum 1: mean_ij |(A^T G)[i, j]| over real places, of A and G, (batch, heads, places, places)."""
    products = (attention.transpose(-1, -2) @ gradient).abs() * (is_real[:, None, :, None] & is_real[:, None, None])
    sums = products.sum((-1, -2))
    total = sums.sum(-1, keepdim=True)
    return torch.where(total > 0, sums / total.clamp(min=torch.finfo(sums.dtype).tiny), 1 / sums.shape[1])


def _head_wise(layer: LayerTrace, gradient: Tensor, is_real: Tensor) -> Tensor:
    importance = head_importance(layer.attention, gradient, is_real)
    return (importance[:, :, None, None] * layer.attention).sum(1)


def _token_wise(layer: LayerTrace, *, value_bias: bool) -> Tensor:
    check_form(layer)
    values = layer.values if value_bias else layer.values - layer.block.value.bias
    mapped = values @ layer.block.output.weight.T
    smallest = torch.finfo(mapped.dtype).tiny
    ratio: Tensor = mapped.norm(dim=-1) / layer.hidden.norm(dim=-1).clamp(min=smallest)
    return layer.attention.mean(1) * ratio[:, None]


def _attention_gradients(
    run: Run, targets: Tensor, scalar: str, wanted: "range | list[int]", *, value_bias: bool
) -> list[Tensor]:
    """Return d scalar / d A of the wanted layers; without the bias of the values what A would move without it."""
    layers = [run.layers[number] for number in wanted]
    if value_bias:
        return list(gradients(run, targets, scalar, [layer.attention for layer in layers]))
    both = gradients(run, targets, scalar, [*(x.attention for x in layers), *(x.gathered for x in layers)])
    found = []
    for layer, of_attention, of_gathered in zip(layers, both[: len(layers)], both[len(layers) :], strict=True):
        by_bias = layer.by_head(of_gathered * layer.block.value.bias.detach()).sum(-1)  # (n, heads, places)
        found.append(of_attention - by_bias[..., None])
    return found
