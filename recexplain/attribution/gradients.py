"""Gradients of the target's score with respect to h^0, what enters the first layer, summed over its dimensions.

The encoder is entered at h^0 itself: the embedding LayerNorm and the positions are not applied twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recexplain.attribution.paths import Path, check_path, path_of
from recexplain.attribution.trace import FLOATS, Entry, check_scalar, gradients, passes
from recexplain.errors import OptionError, is_whole

BASELINES = ("random", "zero")

Scored = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GradientL2:
    """Length of the gradient, |d scalar / d h^0_j| (Simonyan et al. 2014, arXiv 1312.6034, section 3)."""

    name: ClassVar[str] = "gradient_l2"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = False

    scalar: str = "logit"  # logit or log_probability

    def __post_init__(self) -> None:
        check_scalar(self.scalar)

    def places(self, entry: Entry, targets: Tensor) -> Tensor:
        """(batch, places), 0 or more; padding 0."""
        lengths: Tensor = input_gradient(entry, targets, self.scalar).norm(dim=-1)
        return lengths


@dataclass(frozen=True)
class GradientInput:
    """Gradient times input, sum over the dimensions of h^0_j d scalar / d h^0_j (Shrikumar et al. 2016, 1605.01713)."""

    name: ClassVar[str] = "gradient_input"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    scalar: str = "logit"  # logit or log_probability

    def __post_init__(self) -> None:
        check_scalar(self.scalar)

    def places(self, entry: Entry, targets: Tensor) -> Tensor:
        """(batch, places); padding 0."""
        from captum.attr import InputXGradient  # noqa: PLC0415  a second of imports, which few need

        method = InputXGradient(_scored(entry, self.scalar, path_of(entry, "h0")))
        h0 = entry.h0.clone().requires_grad_()
        found: Tensor = method.attribute(h0, additional_forward_args=(entry.rows, targets))
        return found.detach().sum(-1)


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients from h^0 = 0 (Sundararajan et al. 2017, arXiv 1703.01365, equation 1), by Captum.

    `path="items"` begins where the items' vectors are 0, and positions and the mask are as they are.
    They sum, over all places, to the difference of the scores at both ends. Whoever misses it by more than `tolerance`
    times that difference (1 at the least) gets twice the steps, up to `max_steps`; then `OptionError`. That is so of
    networks whose biases are next to 0: LayerNorm makes the score jump at h^0 = 0, and no integral goes over a jump.
    """

    name: ClassVar[str] = "integrated_gradients"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    steps: int = 64  # of the Gauss-Legendre rule
    max_steps: int = 1024  # steps are doubled as long as they are no more
    tolerance: float = 0.01
    scalar: str = "logit"  # logit or log_probability
    path: str = "h0"  # what is scaled: h0, or items, the items' vectors alone

    def __post_init__(self) -> None:
        check_path(self.path)
        if not is_whole(self.steps, 2):
            raise OptionError(f"steps must be a whole number of 2 or more, not {self.steps!r}")
        if not is_whole(self.max_steps, self.steps):
            raise OptionError(f"max_steps must be a whole number not below steps, {self.steps}, not {self.max_steps!r}")
        if not (isinstance(self.tolerance, float | int) and self.tolerance > 0):
            raise OptionError(f"tolerance must be above 0, not {self.tolerance!r}")
        check_scalar(self.scalar)

    def places(self, entry: Entry, targets: Tensor) -> Tensor:
        """(batch, places); padding 0."""
        path = path_of(entry, self.path)
        scored = _scored(entry, self.scalar, path)
        with torch.no_grad():
            rise = scored(path.end, entry.rows, targets) - scored(torch.zeros_like(path.end), entry.rows, targets)
        scores, open_rows, steps = torch.zeros_like(entry.h0[:, :, 0]), entry.rows, self.steps
        while True:
            scores[open_rows] = self._with(steps, scored, path.end[open_rows], open_rows, targets[open_rows])
            missed = (scores.sum(-1) - rise).abs() / rise.abs().clamp(min=1)
            open_rows = entry.rows[missed > self.tolerance]
            if len(open_rows) == 0:
                return scores
            if 2 * steps > self.max_steps:
                raise OptionError(
                    f"integrated gradients of {steps} steps miss the difference of the scores by "
                    f"{float(missed.max()):.2g} of it, and {self.tolerance} is allowed; give a larger max_steps"
                )
            steps *= 2

    def _with(self, steps: int, scored: Scored, end: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        """(rows, places), with so many steps."""
        from captum.attr import IntegratedGradients as Captum  # noqa: PLC0415  a second of imports, which few need

        found: Tensor = Captum(scored).attribute(
            end,
            additional_forward_args=(rows, targets),
            n_steps=steps,
            method="gausslegendre",
            internal_batch_size=max(len(rows), FLOATS // (2 * end.shape[1] ** 2)),
        )
        return found.detach().sum(-1)


@dataclass(frozen=True)
class GradientShap:
    """GradientSHAP (Lundberg and Lee 2017, arXiv 1705.07874; expected gradients of Erion et al. 2021, 1906.10670).

    The mean over samples of (h^0 - b) d scalar / d h^0 at b + alpha (h^0 - b). A baseline b is `random`, what enters
    where every item of the history is one drawn evenly from the catalogue, or `zero`; alpha is drawn once from each of
    equally long stretches of (0, 1). The draws come from the seed and the history alone: no other person and no target
    changes them; Captum's draw from the global state, for the batch at once. They sum to the score less the mean score
    of the baselines, up to the error of so few samples.
    """

    name: ClassVar[str] = "gradient_shap"
    target_specific: ClassVar[bool] = True
    signed: ClassVar[bool] = True

    samples: int = 64
    baseline: str = "random"  # random or zero
    seed: int = 0
    scalar: str = "logit"  # logit or log_probability

    def __post_init__(self) -> None:
        if not is_whole(self.samples, 1):
            raise OptionError(f"samples must be a whole number of 1 or more, not {self.samples!r}")
        if not is_whole(self.seed, 0):
            raise OptionError(f"seed must be a whole number of 0 or more, not {self.seed!r}")
        if self.baseline not in BASELINES:
            raise OptionError(f"baseline must be one of {', '.join(BASELINES)}, not {self.baseline!r}")
        check_scalar(self.scalar)

    def places(self, entry: Entry, targets: Tensor) -> Tensor:
        """(batch, places); padding 0."""
        alphas, baselines = self._drawn(entry)
        scores = torch.zeros_like(entry.h0[:, :, 0])
        for copies, rows in passes(entry, self.samples):
            baseline = baselines[rows, copies] if self.baseline == "random" else torch.zeros_like(entry.h0[rows])
            way = entry.h0[rows] - baseline
            with torch.enable_grad():
                h0 = (baseline + alphas[rows, copies][:, None, None] * way).requires_grad_()
                (gradient,) = gradients(entry.run(h0, rows), targets[rows], self.scalar, [h0])
            scores.index_add_(0, rows, (gradient * way).sum(-1) / self.samples)
        return scores

    def _drawn(self, entry: Entry) -> tuple[Tensor, Tensor]:
        """(batch, samples) alphas, and (batch, samples, places, dim) random baselines, or none of them."""
        draws = [np.random.default_rng([self.seed, *history.tolist()]) for history in entry.histories]
        alphas = [(draw.permutation(self.samples) + draw.random(self.samples)) / self.samples for draw in draws]
        found = torch.from_numpy(np.stack(alphas)).to(entry.h0)
        if self.baseline == "zero":
            return found, entry.h0[:0]
        assert entry.enter is not None
        n_items = entry.run(entry.h0[:1], entry.rows[:1]).logits.shape[1] - 1
        others = [
            np.where(history > 0, draw.integers(1, n_items + 1, len(history)), 0)
            for history, draw in zip(entry.histories, draws, strict=True)
            for _ in range(self.samples)
        ]
        return found, entry.enter(others).h0.view(len(entry.h0), self.samples, *entry.h0.shape[1:])


def input_gradient(entry: Entry, targets: Tensor, scalar: str) -> Tensor:
    """(batch, places, dim): d scalar / d h^0."""
    with torch.enable_grad():
        h0 = entry.h0.clone().requires_grad_()
        return gradients(entry.run(h0, entry.rows), targets, scalar, [h0])[0]


def _scored(entry: Entry, scalar: str, path: Path) -> Scored:
    """Return what Captum asks for: (points of the path, rows, targets) -> the explained number of each, (n,)."""

    def scored(point: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
        return entry.run(path.enter(point, rows), rows).explained(targets, scalar)

    return scored
