"""The few names that users need, used as the documents do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from toys import Attentive, Voting, linked, random_heads, random_votes, votes_of

import recexplain
from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.explainers import Cleann
from recexplain.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("one_thread")

FILMS = Vocabulary(
    ("alien", "brazil", "casablanca", "duel", "m*a*s*h", "é", "heat", "ran", "kika"), {"kika": "Kika (1993)"}
)
#: Films 1 and 2 vote for kika, 3 for ran; attention links the target with the first two.
VOTES = votes_of(9, [(1, 9, 2), (2, 9, 2), (3, 8, 3)])


@pytest.fixture
def recommender() -> Attentive:
    return Attentive(VOTES, vocabulary=FILMS, heads=linked({0, 1}))


def test_the_public_names_are_the_documented_ones() -> None:
    assert recexplain.__all__ == [
        "CheckpointError",
        "DataError",
        "Explanation",
        "Failure",
        "OptionError",
        "RecExplainError",
        "Recommender",
        "UnknownIdError",
        "attribute",
        "explain",
        "explain_frame",
        "explain_many",
        "from_callable",
        "from_module",
        "learn_pag",
        "load",
        "verify",
    ]
    assert all(getattr(recexplain, name).__doc__ for name in recexplain.__all__)
    errors = [getattr(recexplain, name) for name in recexplain.__all__ if name.endswith("Error")]
    assert all(issubclass(error, recexplain.RecExplainError) for error in errors)


def test_importing_the_library_imports_no_trainer_and_no_plots() -> None:
    code = "import sys; from recexplain import *; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"recexplain", "torch", "numpy"} <= set(listed.stdout.split())
    forbidden = {"hydra", "omegaconf", "lightning", "pytorch_lightning", "ray", "recbole", "matplotlib", "captum"}
    assert not forbidden & set(listed.stdout.split())
    assert listed.stderr == ""


def test_a_name_is_imported_from_its_home_when_it_is_used() -> None:
    code = "import recexplain.causal.batch, sys; print({'torch', 'pandas'} & set(sys.modules))"
    code += "; from recexplain import explain; print(explain.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "recexplain.api"]
    assert set(recexplain.__all__) == set(recexplain._HOME_OF)
    assert set(recexplain.__all__) < set(dir(recexplain))
    with pytest.raises(AttributeError, match="module 'recexplain' has no attribute 'explane'"):
        recexplain.explane  # noqa: B018


def test_one_person_with_their_own_ids(recommender: Attentive) -> None:
    found = recexplain.explain(recommender, ["alien", "brazil", "casablanca"], user="ann")
    assert (found.user, found.target, found.items, found.replacement) == ("ann", "kika", ("brazil",), "ran")
    sentence = found.sentence(FILMS.title_of)
    assert sentence.startswith(
        "Recommended because you watched *brazil*; without it, it would have been *ran*. But 67%"
    )
    assert (found.status, found.positions, found.null_rate) == ("optimal", (1,), 2 / 3)
    assert recexplain.Explanation.from_json(found.to_json()) == found


def test_options_reach_the_search(recommender: Attentive) -> None:
    history = ["alien", "brazil", "casablanca"]
    leaves = recexplain.explain(recommender, history, target="ran", change="leaves", k=2, explainer=Cleann(alpha=0.05))
    assert (leaves.status, leaves.change, leaves.target, leaves.target_rank) == ("none_up_to", "leaves", "ran", 2)
    padded = recexplain.explain(recommender, history, removal="pad", seed=5, max_seconds=60, max_evaluations=1)
    assert (padded.removal, padded.seed, padded.evaluations) == ("pad", 5, 1)


def test_many_people_may_share_a_target(recommender: Attentive) -> None:
    histories = [["alien", "brazil", "casablanca"]] * 2
    shared = list(recexplain.explain_many(recommender, histories, target="ran", change="leaves", k=2))
    assert [(found.target, found.target_rank) for found in shared] == [("ran", 2), ("ran", 2)]


def test_many_people_in_input_order(recommender: Attentive) -> None:
    histories = (h for h in (["alien", "casablanca"], ["zorro", "alien"], ["brazil", "alien", "casablanca"]))
    explanations = recexplain.explain_many(recommender, histories, users=["a", "b", "c"])
    assert isinstance(explanations, Iterator)
    assert [(one.user, one.status, one.error) for one in explanations] == [
        ("a", "optimal", None),
        ("b", "error", "item 'zorro' is not in the catalogue of 9 items"),
        ("c", "optimal", None),
    ]
    (nameless,) = recexplain.explain_many(recommender, [["alien", "casablanca"]])
    assert nameless.user is None


def test_many_people_are_as_one_at_a_time() -> None:
    draw = np.random.default_rng(0)
    recommender = Attentive(random_votes(draw, 20), 8, decay=0.5, heads=random_heads(2))
    histories = [draw.integers(1, 15, length).tolist() for length in draw.integers(2, 12, 21)]
    options: dict[str, Any] = {"change": "leaves", "k": 3, "removal": "pad", "max_evaluations": 50, "seed": 4}
    many = list(recexplain.explain_many(recommender, histories, users=map(str, range(21)), **options))
    assert many == [
        recexplain.explain(recommender, history, user=str(number), **options)
        for number, history in enumerate(histories)
    ]


def test_a_history_that_is_none_is_that_persons_error_alone(recommender: Attentive) -> None:
    histories: list[Any] = [None, ["alien", "brazil", "casablanca"]]
    for users in (None, ["a", "b"]):
        nobody, somebody = recexplain.explain_many(recommender, histories, users=users)
        assert nobody.error == "a history must be a list of item ids, oldest first, not None"
        assert somebody.status != "error"


@pytest.mark.parametrize("users", [["a"], ["a", "b", "c"], []])
def test_users_and_histories_are_equally_many(users: list[str], recommender: Attentive) -> None:
    with pytest.raises(recexplain.OptionError, match="users and histories must be equally many"):
        list(recexplain.explain_many(recommender, [["alien", "brazil"]] * 2, users=users))


def test_wrong_options_stop_before_any_work(recommender: Attentive) -> None:
    with pytest.raises(recexplain.OptionError, match="change must be one of"):
        recexplain.explain_many(recommender, [["alien", "brazil"]], change="other")
    with pytest.raises(recexplain.OptionError, match="explainer must be one of causal, cleann"):
        recexplain.explain_many(recommender, [["alien", "brazil"]], explainer="other")
    for odd in (None, 5):
        with pytest.raises(recexplain.OptionError, match=f"or an object with search, not {odd}"):
            recexplain.explain(recommender, ["alien", "brazil"], explainer=odd)  # type: ignore[arg-type]
    with pytest.raises(recexplain.OptionError, match="a checkpoint is the path of a file, not None"):
        recexplain.load(None)  # type: ignore[arg-type]
    with pytest.raises(recexplain.OptionError, match="max_seconds must be above 0, or null for no limit, not inf"):
        recexplain.explain(recommender, ["alien", "brazil"], max_seconds=float("inf"))
    with pytest.raises(recexplain.UnknownIdError, match="item 'zorro'"):
        recexplain.explain(recommender, ["alien", "zorro"])
    with pytest.raises(KeyError):
        recexplain.explain(recommender, ["alien", "brazil"], target="zorro")
    with pytest.raises(recexplain.OptionError, match="Voting has none"):
        recexplain.explain(Voting(VOTES), [1, 2], explainer="cleann")


def test_numbers_of_numpy_are_numbers(recommender: Attentive) -> None:
    asked = {"k": np.int64(2), "seed": np.int32(3), "tau": np.float32(0.5), "max_evaluations": np.int64(9)}
    found = recexplain.explain(recommender, ["alien", "brazil"], change="list", **asked)
    plain = {name: value.item() for name, value in asked.items()}
    assert found == recexplain.explain(recommender, ["alien", "brazil"], change="list", **plain)
    assert recexplain.Explanation.from_json(found.to_json()) == found


def test_from_a_checkpoint_to_a_sentence(tmp_path: Path) -> None:
    model = {"name": "BERT4Rec", "n_items": 9, "max_length": 4, "dim": 8, "layers": 1, "heads": 2, "dropout": 0.1}
    weights = build_model(model).state_dict()
    save_checkpoint(Checkpoint(model, weights, FILMS, {}, "data"), tmp_path / "checkpoint.ckpt")
    recommender = recexplain.load(tmp_path / "checkpoint.ckpt")
    assert isinstance(recommender, recexplain.Recommender)
    found = recexplain.explain(recommender, ["m*a*s*h", "é", "alien", "brazil", "duel"])
    assert found.sentence(recommender.vocabulary.title_of) if recommender.vocabulary else False
    assert (found.n_unseen, found.data_hash, found.model_hash) == (1, "data", recommender.model_hash)


def test_a_graph_alone() -> None:
    correlation = np.array([[1, 0.6, 0], [0.6, 1, 0.6], [0, 0.6, 1]])
    graph = recexplain.learn_pag(correlation, 100)
    assert isinstance(graph, nx.DiGraph)
    assert sorted(graph.edges) == [(0, 1), (1, 0), (1, 2), (2, 1)]
    assert (graph[0][1]["mark"], graph[2][1]["mark"]) == ("arrow", "arrow")  # a collider
    assert graph.graph["sepset"] == {(0, 2): ()}
