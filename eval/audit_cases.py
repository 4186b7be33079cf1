"""The single people that a report shows: their whole explanations, the titles of their items, and their graphs."""

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx

from recexplain.counterfactual import Question, ask
from recexplain.evaluation.audit_drawn import Drawn, Sample
from recexplain.evaluation.audit_studies import Study, person_of
from recexplain.explainers.driver import GraphExplainer
from recexplain.explainers.graphs import GraphOptions, first_position
from recexplain.recommender import asked_for, number_of
from recexplain.vocabulary import Vocabulary

#: Kind -> its title, and how its people come to be shown.
ABOUT = {
    "typical": ("Drawn by chance", "People with an explanation, drawn by the hash of seed and user."),
    "largest": ("Largest sets", "The people for whom the most items must be removed."),
    "unexplained": ("Unexplained", "People for whom no removal that changes the answer was found."),
    "unspecific": (
        "Unspecific",
        "The people for whom the most random sets of the same size do as well, so that the explanation says little.",
    ),
    "error": ("Errors", "People who could not be explained, and why."),
}


def cases_of(kinds: Mapping[str, Sample], study: Study, vocabulary: Vocabulary) -> dict[str, Any]:
    """Return the people of each kind, and everyone once with explanation and graph."""
    chosen = {kind: sample.people(sample.n) for kind, sample in kinds.items()}
    people = {one.row["user"]: one for drawn in chosen.values() for one in drawn}
    return {
        "kinds": [
            {"kind": kind, "title": title, "about": about, "users": [one.row["user"] for one in chosen[kind]]}
            for kind, (title, about) in ABOUT.items()
            if chosen[kind]
        ],
        "titles": _titles([one.row for one in people.values()], vocabulary),
        "people": [
            {"user": user, "explanation": dict(one.row), "graph": _graph(one, study)}
            for user, one in sorted(people.items())
        ],
    }


def _titles(rows: Sequence[Mapping[str, Any]], vocabulary: Vocabulary) -> dict[str, str]:
    """Return the titles of all items that rows name, where one is known."""
    items = {item for row in rows for name in ("history", "before", "after") for item in row[name]}
    items |= {row[name] for row in rows for name in ("target", "replacement", "wanted") if row[name]}
    return {item: vocabulary.titles[item] for item in sorted(items) if item in vocabulary.titles}


def _graph(drawn: Drawn, study: Study) -> dict[str, Any] | None:
    """Return the causal graph that goes with an explanation, learnt again; None where there is none."""
    explainer, row = study.explainer, drawn.row
    if row["status"] == "error" or not isinstance(explainer, GraphExplainer):
        return None
    question = _asked(drawn, study)
    graphs = explainer.graphs(study.recommender, question)
    if not graphs:
        return None
    head = explainer.head_of(tuple(row["positions"]), question, graphs) if row["positions"] else 0
    settings = ", ".join(f"{name} {value}" for name, value in vars(explainer).items())
    named = explainer.name_of(head, len(graphs)) if isinstance(explainer, GraphOptions) else "attention"
    distances = explainer.distances(question, graphs[head]) if isinstance(explainer, GraphOptions) else {}
    return {
        "about": f"Graph of {named}; {settings}.",
        "first": first_position(question, graphs),
        "nodes": graphs[head].number_of_nodes(),
        "edges": _edges(graphs[head]),
        "distances": {str(position): far for position, far in sorted(distances.items())},
    }


def _asked(drawn: Drawn, study: Study) -> Question:
    person = person_of(drawn)
    recommender = asked_for(study.recommender, person.user)
    target = number_of(recommender, drawn.row["target"])
    return ask(recommender, person.numbers(recommender), study.options, target, user=person.user)


def _edges(graph: nx.DiGraph) -> list[list[Any]]:
    """Return each adjacency as [x, y, mark at x, mark at y] with x < y; the mark of the arc (x, y) is that at y."""
    return [[x, y, graph.edges[y, x]["mark"], graph.edges[x, y]["mark"]] for x, y in sorted(graph.edges) if x < y]
