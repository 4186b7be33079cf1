"""The command line on checkpoints that RecBole has written."""

import dataclasses
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import recexplain
from recexplain.adapters.recbole import RecBoleRecommender, recbole_checkpoint
from recexplain.counterfactual import Options, ask
from recexplain.evaluation import cli
from recexplain.evaluation import evaluate as evaluate_entry
from recexplain.evaluation.audit_kernel import FromCheckpoint
from recexplain.evaluation.measure import other_removals
from recexplain.evaluation.perturbation import only, perturbed, without
from recexplain.schema import parquet_bytes, read_explanations

pytestmark = pytest.mark.usefixtures("one_thread")

Refuse = Callable[..., str]

ASKED = ["change=list", "k=4", "tau=0.25", "max_evaluations=60"]


def run(*words: str) -> int:
    return cli.main(list(words))


@pytest.fixture
def refuse(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refuse:
    """Run an entry that must be refused, and return its sentence; nothing is written."""
    recommender, path = recexplain.load(written / "SASRec.pth"), tmp_path / "told.parquet"
    path.write_bytes(parquet_bytes([recexplain.explain(recommender, ["i3", "i12", "i5"], max_evaluations=5)]))
    monkeypatch.chdir(tmp_path)
    Path("few.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\nu1\ti3\t1\n", encoding="utf-8")

    def run(entry: str, checkpoint: str, *options: str) -> str:
        told = [f"explanations={path}"] if entry == "verify" else []
        capsys.readouterr()
        at = checkpoint if Path(checkpoint).exists() else written / checkpoint
        assert cli.main([entry, f"checkpoint={at}", "out=nothing", *told, *options]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.count("\n") == 1
        assert not Path("nothing").exists()
        return printed.err

    return run


def audit(path: Path, out: Path, *more: str) -> int:
    return run("audit", f"checkpoint={path}", f"out={out}", *ASKED, "workers=0", "buckets=2", *more)


def verify(path: Path, explanations: Path, *more: str) -> int:
    """The status of `verify`, which writes beside the folder of the explanations."""
    out = explanations.parent.parent / "verified"
    return run("verify", f"explanations='{explanations}'", f"checkpoint={path}", f"out={out}", *more)


def test_histories_are_those_of_recbole(written: Path) -> None:
    for name in ("SASRec", "SASRecF", "FPMC"):
        dataset = recbole_checkpoint(written / f"{name}.pth").data
        noted = np.load(written / f"{name}.npz")
        assert dataset is not None
        for user, items, length in zip(noted["users"], noted["items"], noted["lengths"], strict=True):
            whole = dataset.histories[dataset.histories.row_of(user)]
            np.testing.assert_array_equal(whole[:-1][-8:], items[:length])


def test_from_a_checkpoint_to_explanations_that_verify(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written / "BERT4Rec.pth", tmp_path / "told"
    options = ["limit=4", "change=list", "k=4", "tau=0.25", "pages=2", "history=test"]
    assert cli.main(["explain", f"checkpoint={path}", f"out={out}", *options]) == 0
    found = read_explanations(out / "explanations.parquet")
    assert len(found) == 4
    assert all(one.n_unseen >= 1 and one.n_graphs == 2 for one in found if one.status != "error")
    assert 'The "film ' in (out / "index.html").read_text(encoding="utf-8").replace("&#34;", '"')
    recommender = recexplain.load(path)
    assert recexplain.verify(recommender, found) == []
    check = ["verify", f"explanations={out / 'explanations.parquet'}", f"checkpoint={path}", f"out={tmp_path / 'v'}"]
    assert cli.main(check) == 0
    data = ["data=interactions", f"data.path={written / 'tiny' / 'tiny.inter'}"]
    assert cli.main([*check, *data]) == 0
    assert cli.main([*check[:2], f"checkpoint={written / 'SASRec.pth'}", f"out={tmp_path / 'w'}"]) == 1
    again = tmp_path / "again"
    assert cli.main(["explain", f"checkpoint={path}", f"out={again}", *options, *data]) == 0
    assert read_explanations(again / "explanations.parquet") == found
    capsys.readouterr()


#: Entries, a model, options, and what is said.
REFUSED = [
    (
        "explain evaluate audit verify",
        "SASRec",
        ["data=interactions", "data.path=few.inter"],
        "was trained on 39 items, but",
    ),
    (
        "explain evaluate audit verify",
        "SASRec",
        ["data=interactions", "data.path=r.csv"],
        "takes its ids from the .inter",
    ),
    (
        "explain evaluate audit verify",
        "SASRec",
        ["data=interactions", "data.path=no.inter"],
        "there is no file no.inter",
    ),
    ("explain evaluate audit verify", "SASRec", ["device=abacus"], "the device 'abacus' cannot be used here"),
    ("explain evaluate audit verify", "DIN", [], "of the model DIN, which cannot be used"),
    ("explain", "SASRec", ["explainer=cleann", "users=[none]"], "user 'none' is not one of"),
    ("evaluate", "SASRec", ["users=[none]"], "user 'none' is not one of"),
    ("explain audit", "SASRec", ["locked=[zorro]"], "item 'zorro' is not in the catalogue"),
    ("explain evaluate audit", "SASRec", ["change=enters", "wanted=zorro"], "item 'zorro' is not in the catalogue"),
    ("evaluate", "SASRec", ["retrain=1"], "is of RecBole, and cannot be trained again here; leave retrain= out"),
    ("evaluate", "SASRec", ["compare=none.pth"], "there is no checkpoint none.pth"),
    ("audit", "SASRec", ["histories.path=none.csv"], "there is no file or folder none.csv"),
]


@pytest.mark.parametrize(("entries", "model", "options", "sentence"), REFUSED)
def test_what_cannot_be_is_one_sentence(
    entries: str, model: str, options: list[str], sentence: str, refuse: Refuse
) -> None:
    for entry in entries.split():
        assert sentence in refuse(entry, f"{model}.pth", *options)


class Harm:
    """An object whose pickle asks for a file to be written."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("open('executed', 'w').close()",)


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def swapped(whole: bytes, old: bytes, new: bytes) -> bytes:
    """A checkpoint with other bytes, as many, in its pickle, and the checksums of that."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(buffer, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, content.replace(old, new) if name.endswith("/data.pkl") else content)
    return buffer.getvalue()


#: What is made of a checkpoint of SASRec, and what is said of it.
ATTACKS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is damaged or no checkpoint of ours"),
    "cut in half": (lambda whole: whole[: len(whole) // 2], "is damaged or no checkpoint of ours"),
    "without its end": (lambda whole: whole[:-30], "is damaged or no checkpoint of ours"),
    "a byte changed": (lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], "is damaged"),
    "a plain pickle": (lambda _: pickle.dumps(Harm()), "is damaged or no checkpoint of ours"),
    "torch's old format": (
        lambda _: saved(Harm(), _use_new_zipfile_serialization=False, pickle_protocol=4),
        "is damaged or no checkpoint of ours",
    ),
    "as the whole": (lambda _: saved(Harm(), pickle_protocol=4), "asks for builtins.exec, which no checkpoint needs"),
    "as the configuration": (
        lambda _: saved({"config": Harm(), "state_dict": {}}, pickle_protocol=4),
        "asks for builtins.exec, which no checkpoint needs; nothing in it was executed",
    ),
    "in an array of objects": (
        lambda _: saved({"config": np.array([Harm()], dtype=object)}, pickle_protocol=4),
        "asks for builtins.exec",
    ),
    "behind the class of a model": (
        lambda whole: swapped(whole, b"recbole.config.configurator", b"subprocess.configuratorrrrr"),
        "asks for subprocess.configuratorrrrr.Config",
    ),
    "weights of an item less": (
        lambda whole: swapped(whole, b"item_embedding.weight", b"item_embeddinx.weight"),
        "lacks a part of SASRec",
    ),
    "another model's name": (lambda whole: swapped(whole, b"SASRec", b"FOSSIL"), "lacks a part of FOSSIL"),
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_file_that_is_damaged_or_means_harm_is_one_sentence(
    kind: str, refuse: Refuse, written: Path, tmp_path: Path
) -> None:
    attack, sentence = ATTACKS[kind]
    (tmp_path / "bad.pth").write_bytes(attack((written / "SASRec.pth").read_bytes()))
    entries = ("explain", "evaluate", "audit", "verify") if kind == "as the configuration" else ("explain",)
    for entry in entries:
        assert sentence in refuse(entry, "bad.pth")
        assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("model", ["BERT4Rec", "GRU4Rec", "FPMC", "STAMP"])
def test_explainers_are_compared_on_a_checkpoint_of_recbole(
    model: str, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate_entry, "board_page", lambda *_: "page")
    path, out = written / f"{model}.pth", tmp_path / "run"
    explainers = "explainers=[causal,attention]" if model == "BERT4Rec" else "explainers=[causal]"
    few = ["limit=3", "checks=2", "resamples=20", f"compare={path}"]
    assert run("evaluate", f"checkpoint={path}", f"out={out}", explainers, *few, *ASKED) == 0
    board = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    metrics = {metric["name"] for metric in board["metrics"]}
    assert {"stability_item", "stability_model", "randomised_order"} <= metrics
    assert ("randomised_set" in metrics) == (model not in ("FPMC", "STAMP"))  # their layers have no numbers
    for label in ("causal", "recency"):
        file = out / "explanations" / f"{label}.parquet"
        found = read_explanations(file)
        assert len(found) == 3
        assert not [one.error for one in found if one.error and "it must see two" not in one.error]
        assert verify(path, file) == 0
    capsys.readouterr()


@pytest.mark.parametrize("model", ["BERT4Rec", "FPMC"])
def test_an_audit_of_a_checkpoint_of_recbole_says_what_explain_says(
    model: str, written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, told = written / f"{model}.pth", tmp_path / "told"
    data = ["data=interactions", f"data.path={written / 'tiny' / 'tiny.inter'}"]
    assert audit(path, tmp_path / "audit", *data) == 0
    assert run("explain", f"checkpoint={path}", f"out={told}", "pages=0", *ASKED) == 0
    found = read_explanations(tmp_path / "audit" / "explanations")
    expected = read_explanations(told / "explanations.parquet")
    assert sorted(found, key=lambda one: str(one.user)) == sorted(expected, key=lambda one: str(one.user))
    assert len(found) == 30
    assert any(one.is_found for one in found)
    for more in ([], data):
        assert verify(path, tmp_path / "audit" / "explanations", *more) == 0
    capsys.readouterr()


def test_a_model_that_scores_for_a_user_is_asked_for_each_person_themselves(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = written / "FPMC.pth", tmp_path / "told"
    assert run("explain", f"checkpoint={path}", f"out={out}", "users=[u1,u2]", "pages=2", *ASKED) == 0
    recommender = recexplain.load(path)
    assert isinstance(recommender, RecBoleRecommender)
    asked = {"change": "list", "k": 4, "tau": 0.25, "max_evaluations": 60}
    found = read_explanations(out / "explanations.parquet")
    for one in found:
        own = recexplain.explain(recommender.for_user(one.user), one.history, user=one.user, **asked)
        assert one == own == recexplain.explain(recommender, one.history, user=one.user, **asked)
    assert list(recexplain.explain_many(recommender, [one.history for one in found], users=["u1", "u2"], **asked)) == (
        found
    )
    assert recexplain.verify(recommender, found) == []
    swapped = [dataclasses.replace(one, user="u3") for one in found]
    swapped = [dataclasses.replace(one, digest=one.fingerprint()) for one in swapped]
    assert recexplain.verify(recommender, swapped) != []
    capsys.readouterr()


def test_people_of_a_table_are_known_to_a_model_of_users_or_not(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{user},i{item},{time}" for user in ("u1", "new") for time, item in enumerate((3, 12, 5, 25))]
    table = tmp_path / "people.csv"
    table.write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    data = ["data=interactions", f"data.path={written / 'tiny' / 'tiny.inter'}"]
    for model, unknown in (("FPMC", "user 'new' is not one of the 30 users of its data"), ("SASRec", None)):
        path, out = written / f"{model}.pth", tmp_path / model
        assert audit(path, out, f"histories.path={table}", *data) == 0
        found = {one.user: one for one in read_explanations(out / "explanations")}
        assert found["new"].error == unknown
        assert found["u1"].error is None
        for more in ([], data):
            assert verify(path, out / "explanations", *more) == 0
    assert "the audit's histories came from a table" in capsys.readouterr().out


def test_a_worker_has_the_same_model_and_the_same_ids_or_stops(written: Path, tmp_path: Path) -> None:
    data, path = tmp_path / "tiny.inter", written / "FPMC.pth"
    data.write_bytes((written / "tiny" / "tiny.inter").read_bytes())
    checkpoint = recbole_checkpoint(path, data=data)
    load = FromCheckpoint(str(path), "cpu", checkpoint.model_hash, str(data), checkpoint.data_hash)
    there = pickle.loads(pickle.dumps(load))()  # noqa: S301  our own
    assert there.vocabulary.ids == checkpoint.vocabulary.ids
    header, first, second, *others = data.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join([header, second, first, *others]) + "\n", encoding="utf-8")
    with pytest.raises(recexplain.CheckpointError, match=r"tiny.inter was changed while it was audited"):
        load()
    with pytest.raises(recexplain.CheckpointError, match=r"FPMC.pth was changed while it was audited"):
        FromCheckpoint(str(path), "cpu", "another")()


def test_what_is_measured_is_what_the_model_is_handed(written: Path) -> None:
    """BERT4Rec ignores the oldest item of what it is handed: with only the others it would ignore one more."""
    recommender = recexplain.load(written / "BERT4Rec.pth")
    draw = np.random.default_rng(0)
    for length in (4, 6, 8, 11):
        history = draw.permutation(recommender.n_items)[:length] + 1
        question = ask(recommender, history, Options())
        order = list(question.removable)
        told = perturbed(recommender, question, order)
        assert told.whole.ranks.tolist() == [1]
        assert told.most_first.ranks[0] == told.least_first.ranks[0] == told.kept.ranks[-1] == 1
        for whole in (without(question, []), only(question, order)):
            np.testing.assert_array_equal(whole, history[-8:])
    question = ask(recommender, history[:6], Options())
    assert other_removals(recommender, question, 1) == ("pad", "mask")  # nothing could move in
    gru = recexplain.load(written / "GRU4Rec.pth")
    assert other_removals(gru, ask(gru, history, Options()), 1) == ("backfill",)  # nor can a place be left empty
