"""Explainers by name, and the one driver that runs them for one person or many."""

from recexplain.errors import OptionError
from recexplain.explainers.cleann import Cleann
from recexplain.explainers.driver import Explainer

EXPLAINERS: dict[str, type[Cleann]] = {"cleann": Cleann}


def explainer_of(explainer: str | Explainer) -> Explainer:
    """Return an explainer with its default options by name, or the given one as it is."""
    if not isinstance(explainer, str):
        return explainer
    if explainer not in EXPLAINERS:
        raise OptionError(f"explainer must be one of {', '.join(EXPLAINERS)}, not {explainer!r}")
    return EXPLAINERS[explainer]()
