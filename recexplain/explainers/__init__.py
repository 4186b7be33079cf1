"""Explainers by name, and the one driver that runs them for one person or many."""

from recexplain.errors import OptionError
from recexplain.explainers.baselines import Attention, Exhaustive, Occlusion, Popularity, Random, Recency
from recexplain.explainers.causal import Causal
from recexplain.explainers.cleann import Cleann
from recexplain.explainers.driver import Explainer
from recexplain.explainers.genetic import Genetic

__all__ = [
    "EXPLAINERS",
    "Attention",
    "Causal",
    "Cleann",
    "Exhaustive",
    "Explainer",
    "Genetic",
    "Occlusion",
    "Ours",
    "Popularity",
    "Random",
    "Recency",
    "explainer_of",
]

Ours = Causal | Cleann | Exhaustive | Occlusion | Attention | Random | Recency | Popularity | Genetic

EXPLAINERS: dict[str, type[Ours]] = {
    explainer.name: explainer
    for explainer in (Causal, Cleann, Exhaustive, Occlusion, Attention, Random, Recency, Popularity, Genetic)
}


def explainer_of(explainer: str | Explainer) -> Explainer:
    """Return an explainer with its default options by name, or the given one as it is."""
    if not isinstance(explainer, str):
        return explainer
    if explainer not in EXPLAINERS:
        raise OptionError(f"explainer must be one of {', '.join(EXPLAINERS)}, not {explainer!r}")
    return EXPLAINERS[explainer]()
