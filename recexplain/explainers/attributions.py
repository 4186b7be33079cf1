"""Every attribution as an explainer: the item first that it gives the most, followed as the simple orders are.

`occlusion` is the attribution that had been an explainer before, `baselines.Occlusion`: as an explainer it goes by the
gap that the question is about, of which the target's score is one side.
"""

from typing import ClassVar

import numpy as np

from recexplain.attribution import attention, attention_gradients, beyond_intuition, decomposition, gradients
from recexplain.attribution.methods import Method, attributions
from recexplain.counterfactual import Question
from recexplain.errors import OptionError
from recexplain.explainers.baselines import Graphs, followed
from recexplain.recommender import Recommender
from recexplain.search import Search


class Attributed:
    """What makes an attribution an explainer; passes through the model for the scores are no evaluations."""

    name: ClassVar[str]

    def search(self: Method, recommender: Recommender, question: Question, _: Graphs = (), /) -> Search:
        """Return the search; `OptionError` where the attribution tells no item from another."""
        return followed(question, order(self, recommender, question))

    def order(self: Method, recommender: Recommender, question: Question) -> list[int]:
        """Return the removable positions, the largest score first, of equal ones the newest; the unseen come last."""
        return order(self, recommender, question)


def order(method: Method, recommender: Recommender, question: Question) -> list[int]:
    """Return the removable positions, the largest score first, of equal ones the newest; what is not seen comes last.

    `OptionError` where all scores are equal, as when no head has positive evidence: that is no order.
    """
    scores = attributions(recommender, [question.history], np.array([question.target]), method)[0]
    seen = [float(scores[p]) for p in question.removable if not np.isnan(scores[p])]
    if len(seen) > 1 and min(seen) == max(seen):
        raise OptionError(
            f"{method.name} gives all items that may be removed the same score, {seen[0]:g}"
            f"{': no positive evidence' if seen[0] == 0 else ''}, so there is no order"
        )
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    return sorted(question.removable, key=lambda p: (-ranked[p], -p))


class Alti(Attributed, decomposition.Alti):
    """Follows `alti`."""


class AltiL2(Attributed, decomposition.AltiL2):
    """Follows `alti_l2`."""


class NormRollout(Attributed, decomposition.NormRollout):
    """Follows `norm_rollout`."""


class GlobEnc(Attributed, decomposition.GlobEnc):
    """Follows `globenc`."""


class BeyondIntuitionToken(Attributed, beyond_intuition.BeyondIntuitionToken):
    """Follows `beyond_intuition_token`."""


class BeyondIntuitionHead(Attributed, beyond_intuition.BeyondIntuitionHead):
    """Follows `beyond_intuition_head`."""


class RawAttention(Attributed, attention.RawAttention):
    """Follows `raw_attention`."""


class Rollout(Attributed, attention.Rollout):
    """Follows `rollout`."""


class AttentionFlow(Attributed, attention.AttentionFlow):
    """Follows `attention_flow`."""


class AttentionGradient(Attributed, attention_gradients.AttentionGradient):
    """Follows `attention_gradient`."""


class GradCam(Attributed, attention_gradients.GradCam):
    """Follows `grad_cam`."""


class GenericAttribution(Attributed, attention_gradients.GenericAttribution):
    """Follows `generic_attribution`."""


class TransitionAttribution(Attributed, attention_gradients.TransitionAttribution):
    """Follows `transition_attribution`."""


class GradientL2(Attributed, gradients.GradientL2):
    """Follows `gradient_l2`."""


class GradientInput(Attributed, gradients.GradientInput):
    """Follows `gradient_input`."""


class IntegratedGradients(Attributed, gradients.IntegratedGradients):
    """Follows `integrated_gradients`."""


class GradientShap(Attributed, gradients.GradientShap):
    """Follows `gradient_shap`."""


ATTRIBUTIONS: tuple[type[Attributed], ...] = (
    Alti,
    AltiL2,
    NormRollout,
    GlobEnc,
    BeyondIntuitionToken,
    BeyondIntuitionHead,
    RawAttention,
    Rollout,
    AttentionFlow,
    AttentionGradient,
    GradCam,
    GenericAttribution,
    TransitionAttribution,
    GradientL2,
    GradientInput,
    IntegratedGradients,
    GradientShap,
)
