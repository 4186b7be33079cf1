"""Explainers by name, and the one driver that runs them for one person or many."""

from recexplain.errors import OptionError
from recexplain.explainers.attributions import (
    ATTRIBUTIONS,
    Alti,
    AltiL2,
    AttentionFlow,
    AttentionGradient,
    Attributed,
    BeyondIntuitionHead,
    BeyondIntuitionToken,
    GenericAttribution,
    GlobEnc,
    GradCam,
    GradientInput,
    GradientL2,
    GradientShap,
    IntegratedGradients,
    NormRollout,
    RawAttention,
    Rollout,
    TransitionAttribution,
)
from recexplain.explainers.baselines import Attention, Exhaustive, Occlusion, Popularity, Random, Recency, followed
from recexplain.explainers.causal import Causal
from recexplain.explainers.cleann import Cleann
from recexplain.explainers.driver import Explainer
from recexplain.explainers.genetic import Genetic

__all__ = [
    "EXPLAINERS",
    "Alti",
    "AltiL2",
    "Attention",
    "AttentionFlow",
    "AttentionGradient",
    "Attributed",
    "BeyondIntuitionHead",
    "BeyondIntuitionToken",
    "Causal",
    "Cleann",
    "Exhaustive",
    "Explainer",
    "GenericAttribution",
    "Genetic",
    "GlobEnc",
    "GradCam",
    "GradientInput",
    "GradientL2",
    "GradientShap",
    "IntegratedGradients",
    "NormRollout",
    "Occlusion",
    "Ours",
    "Popularity",
    "Random",
    "RawAttention",
    "Recency",
    "Rollout",
    "TransitionAttribution",
    "explainer_of",
    "followed",
]

Ours = Causal | Cleann | Exhaustive | Occlusion | Attention | Random | Recency | Popularity | Genetic | Attributed

EXPLAINERS: dict[str, type[Ours]] = {
    explainer.name: explainer
    for explainer in (Causal, Cleann, Exhaustive, Occlusion, Attention, Random, Recency, Popularity, Genetic)
} | {explainer.name: explainer for explainer in ATTRIBUTIONS}


def explainer_of(explainer: str | Explainer) -> Explainer:
    """Return an explainer with its default options by name, or the given one as it is."""
    if not isinstance(explainer, str) and callable(getattr(explainer, "search", None)):
        return explainer
    if explainer not in EXPLAINERS:
        raise OptionError(
            f"explainer must be one of {', '.join(EXPLAINERS)}, or an object with search, not {explainer!r}"
        )
    return EXPLAINERS[explainer]()
