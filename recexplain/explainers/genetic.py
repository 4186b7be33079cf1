"""A genetic search for removals, in place of the published ones: GENE of Coppolillo et al. edits a history by chance.

Here individuals are removals only, and the fitness is the recommender's own answer: first whether it changes, then how
few positions it takes, and where it does not change by how far it is from that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import networkx as nx
import numpy as np

from recexplain.counterfactual import Candidate, Question
from recexplain.errors import OptionError, is_whole
from recexplain.recommender import Recommender
from recexplain.search import Ledger, Search, Step
from recexplain.steps import searched, strongest_first


@dataclass(frozen=True)
class Genetic:
    """Keeps the better half of a population of removals, and fills it up with crossed and mutated ones."""

    name: ClassVar[str] = "genetic"

    population: int = 64
    generations: int = 30
    mutation: float = 0.5  # how likely a child gains or loses a position

    def __post_init__(self) -> None:
        if not is_whole(self.population, 4):
            raise OptionError(f"population must be a whole number of 4 or more, not {self.population!r}")
        if not is_whole(self.generations, 1):
            raise OptionError(f"generations must be a whole number of 1 or more, not {self.generations!r}")
        if not (isinstance(self.mutation, float | int) and 0 <= self.mutation <= 1):
            raise OptionError(f"mutation must be between 0 and 1, not {self.mutation!r}")

    def search(self, _: Recommender, question: Question, __: Sequence[nx.DiGraph] = (), /) -> Search:
        """Return the search; chance comes from the seed and the user."""
        ledger = Ledger(question)
        return searched(ledger, self._steps(ledger, question.rng("genetic")))

    def _steps(self, ledger: Ledger, rng: np.random.Generator) -> Step[None]:
        question = ledger.question
        alive = [_mutated((), question, rng) for _ in range(self.population)]
        for _ in range(self.generations):
            yield from ledger.test(alive)
            parents = yield from _fittest(ledger, list(dict.fromkeys(alive)), self.population // 2)
            children = [self._child(parents, question, rng) for _ in range(self.population - len(parents))]
            alive = parents + children
        yield from ledger.test(alive)

    def _child(self, parents: Sequence[Candidate], question: Question, rng: np.random.Generator) -> Candidate:
        """Return a removal of about half of what two parents remove, the better ones more likely, perhaps mutated."""
        a, b = (parents[min(rng.integers(len(parents), size=2))] for _ in range(2))
        child = tuple(p for p in sorted({*a, *b}) if (p in a and p in b) or rng.random() < 0.5)
        if not child or rng.random() < self.mutation:
            child = _mutated(child, question, rng)
        return child[: question.most]


def _mutated(candidate: Candidate, question: Question, rng: np.random.Generator) -> Candidate:
    """Return a candidate with one position more or less; it never becomes empty or too large."""
    position = int(rng.choice(question.removable))
    other = {*candidate} ^ {position}
    return tuple(sorted(other)) if 0 < len(other) <= question.most else candidate or (position,)


def _fittest(ledger: Ledger, candidates: Sequence[Candidate], count: int) -> Step[list[Candidate]]:
    """Return so many candidates, the cheapest that change the answer first, then those that come nearest to it."""
    changing = sorted((c for c in candidates if ledger.gaps[c] > 0), key=lambda c: (ledger.question.cost(c), c))
    left = max(0, count - len(changing))
    others = yield from strongest_first(ledger, [c for c in candidates if ledger.gaps[c] <= 0], left)
    return changing[:count] + others
