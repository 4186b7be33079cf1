"""Every wrong input of the command line: status 2, one sentence on stderr, earlier results as they were."""

import io
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recexplain.checkpoint import FORMAT, Checkpoint, build_model, save_checkpoint
from recexplain.evaluation import cli
from recexplain.evaluation.config import record
from recexplain.interactions import Interactions
from recexplain.sequences import load_dataset

pytestmark = pytest.mark.usefixtures("one_thread")

Refuse = Callable[..., str]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "out"
    assert cli.main(["explain", f"checkpoint={checkpoint}", "users=[1]", "pages=1", f"out={out}"]) == 0
    return out


@pytest.fixture
def refuse(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refuse:
    """Run a command that must be refused, and return its sentence; nothing is written, a finished run stays."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> str:
        before, here = contents(finished), contents(tmp_path)
        capsys.readouterr()
        status = cli.main([*words])
        printed = capsys.readouterr()
        assert status == 2, printed
        assert printed.out == ""
        assert printed.err.count("\n") == 1, printed.err
        assert printed.err.startswith("recexplain: ")
        assert "Traceback" not in printed.err
        assert contents(finished) == before
        assert contents(tmp_path) == here
        return printed.err.removeprefix("recexplain: ").strip()

    return run


EXPLAIN = {
    "users=[nobody]": "user 'nobody' is not one of the 943 users of the data",
    "users=[1,0]": "user '0' is not one of the 943 users of the data",
    "users=[]": "users is empty; allowed are all, or a list of user ids such as users=[1,2]",
    "target=nothing": "item 'nothing' is not in the catalogue of 1349 items",
    "explainer.alpha=0": "alpha must be between 0 and 1, not 0",
    "explainer.alpha=1": "alpha must be between 0 and 1, not 1",
    "explainer.alpha=x": "alpha must be between 0 and 1, not 'x'",
    "change=other": "change must be one of top1, leaves, list, enters",
    "removal=other": "removal must be one of delete, pad, mask, backfill",
    "explainer=other": "In 'explain': Could not find 'explainer/other' Available options in 'explainer': alti ",
    "explainer._target_=os.system": "os.system is no explainer: it must be a class with a name and a search",
    "explainer._target_=recexplain.explainers.Exhaustive": "the explainer cannot be built from {'alpha': 0.01, ",
    "users=[1e0]": "users holds 1.0, which is no id as it was read; put ids in quotes: users=['1e0']",
    "users=true": "users holds True, which is no id as it was read",
    "target=1.5": "target holds 1.5, which is no id as it was read",
    "tau=0": "tau must be above 0 and at most 1, not 0",
    "min_age=-1": "min_age must be a whole number of 0 or more, not -1",
    "locked=5": "locked must be a list of ids such as locked=[1,2], not 5",
    "locked=[nothing]": "item 'nothing' is not in the catalogue of 1349 items",
    "costs=5": "costs must be a table of item ids and numbers such as costs={50:3}, not 5",
    "costs={50:0}": "costs must be numbers above 0; that of item '50' is 0",
    "costs={nothing:2}": "item 'nothing' is not in the catalogue of 1349 items",
    "change=enters": "change=enters needs what is wanted: either wanted=<item id> or wanted_category=<name>",
    "wanted=50": "wanted and wanted_category are for change=enters, not for change=top1",
    "max_seconds=true": "max_seconds must be above 0, or null for no limit, not True",
    "data=other": "In 'explain': Could not find 'data/other' Available options in 'data': interactions ml-100k ml-1m",
    "k=0": "k must be a whole number of 1 or more, not 0",
    "k=1.5": "k must be a whole number of 1 or more, not 1.5",
    "k=x": "k must be a whole number of 1 or more, not 'x'",
    "limit=0": "limit must be a whole number of 1 or more, not 0",
    "limit=x": "limit must be a whole number of 1 or more, not 'x'",
    "pages=-1": "pages must be a whole number of 0 or more, not -1",
    "seed=-1": "seed must be a whole number of 0 or more, not -1",
    "seed=x": "seed must be a whole number of 0 or more, not 'x'",
    "max_evaluations=0": "max_evaluations must be a whole number of 1 or more, or null for no limit, not 0",
    "max_seconds=x": "max_seconds must be above 0, or null for no limit, not 'x'",
    "history=half": "history must be full or test, not 'half'",
    "device=toaster": "the device 'toaster' cannot be used here",
    "device=null": "device must be a text such as cpu or cuda:0, not None",
    "max_seconds=inf": "max_seconds must be above 0, or null for no limit, not inf",
    "explainer.heads=9": "heads must be below ",
    "explainer.layer=9": "layer must be from ",
    "other=1": "Could not override 'other'",
    "+other=1": "recexplain explain has no option other; it has change, checkpoint, costs, data, ",
    "out=''": "out must be a folder, or null for one named by the time, not ''",
    "out=[a]": "out must be a folder, or null for one named by the time, not ['a']",
    "explainer.other=1": "Could not override 'explainer.other'",
    "--other": "unrecognized arguments: --other",
    "users=[1": "the option users=[1 cannot be read; any text may stand in quotes: users=['a b','é(1)']",
    "users=[é]": "the option users=[é] cannot be read",
    "users=é": "user 'é' is not one of the 943 users of the data",
    "checkpoint=é.ckpt": "there is no checkpoint é.ckpt",
    "checkpoint=none.ckpt": "there is no checkpoint none.ckpt",
    "checkpoint=5": "there is no checkpoint 5",
    "checkpoint=null": "there is no checkpoint None",
}


@pytest.mark.parametrize("option", EXPLAIN)
def test_a_wrong_option_of_explain(option: str, refuse: Refuse, checkpoint: Path, finished: Path) -> None:
    sentence = refuse("explain", f"checkpoint={checkpoint}", "users=[1]", f"out={finished}", option)
    assert sentence.startswith(EXPLAIN[option])


def test_a_head_that_the_model_lacks_stops_an_audit(refuse: Refuse, checkpoint: Path, finished: Path) -> None:
    said = refuse("audit", f"checkpoint={checkpoint}", f"out={finished}", "explainer.heads=9")
    assert said.startswith("heads must be below ")


@pytest.mark.parametrize("entry", ["explain", "evaluate", "audit"])
def test_a_category_that_no_item_has(entry: str, refuse: Refuse, checkpoint: Path, finished: Path) -> None:
    asked = ["change=enters", "wanted_category=Opera"]
    assert "the category 'Opera' is not " in refuse(entry, f"checkpoint={checkpoint}", f"out={finished}", *asked)


TRAIN = {
    "data=other": "In 'train': Could not find 'data/other'",
    "data=interactions": "Missing mandatory value: data.path",
    "data.min_item_ratings=x": "min_item_ratings must be a whole number of 1 or more, not 'x'",
    "data.min_item_ratings=100000": "no item has 100000 ratings or more",
    "model.dim=x": "dim must be a whole number of 1 or more, not 'x'",
    "model.layers=1.5": "layers must be a whole number of 1 or more, not 1.5",
    "model.dropout=x": "dropout must be at least 0 and below 1, not 'x'",
    "+model.other=1": "BERT4Rec cannot be built from",
    "+other=1": "recexplain train has no option other; it has data, experiment, limit, model, ",
    "model.heads=5": "dim must be a multiple of heads",
    "model._target_=builtins.dict": "model must be one of BERT4Rec, SASRec, not dict",
    "recipe._target_=builtins.dict": "recipe must be a Recipe, not dict",
    "recipe.epochs=0": "recipe.epochs must be",
    "recipe.batch_size=1.5": "recipe.batch_size must be",
    "recipe.lr=0": "recipe.lr must be above 0",
    "limit=x": "limit must be a whole number of 1 or more, or null for everyone, not 'x'",
    "seed=x": "seed must be a whole number of 0 or more, not 'x'",
    "trainer.gradient_clip_val=-1": "trainer.gradient_clip_val must be 0 or more, or null for no bound, not -1",
    "trainer.accelerator=toaster": "trainer cannot be built from these options: You selected an invalid accelerator",
    "trainer.precision=x": "trainer cannot be built from these options: Precision 'x' is invalid",
    "+trainer.other=1": "trainer cannot be built from these options: ",
}


@pytest.mark.parametrize("option", TRAIN)
def test_a_wrong_option_of_train(option: str, refuse: Refuse) -> None:
    assert TRAIN[option] in refuse("train", "out=new", option)


VERIFY = {
    "explanations=none.parquet": "there is no file none.parquet",
    "explanations=file": "file holds no explanations of ours: ",
    "checkpoint=none.ckpt": "there is no checkpoint none.ckpt",
    "max_evaluations=0": "max_evaluations must be a whole number of 1 or more, or null for all, not 0",
    "limit=x": "limit must be a whole number of 1 or more, or null for all, not 'x'",
}


@pytest.mark.parametrize("option", VERIFY)
def test_a_wrong_option_of_verify(
    option: str, refuse: Refuse, checkpoint: Path, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    words = [f"explanations={finished / 'explanations.parquet'}", f"checkpoint={checkpoint}", "out=new"]
    assert refuse("verify", *words, option).startswith(VERIFY[option])


def test_a_command_that_does_not_exist(refuse: Refuse) -> None:
    assert refuse("explian") == "there is no command 'explian'; allowed are train, explain, evaluate, audit, verify"


def test_explain_needs_a_checkpoint(refuse: Refuse) -> None:
    assert refuse("explain") == "Missing mandatory value: checkpoint"


def test_a_file_as_folder(refuse: Refuse, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = ("explain", f"checkpoint={checkpoint}", "users=[1]")
    assert refuse(*words, "out=file") == "out=file is a file; it must be a folder"
    assert refuse(*words, "out=file/inside").startswith("file/inside cannot be read or written: ")


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("k=5", "k (10 there, 5 here)"),
        ("users=[2]", "users ([1] there, [2] here)"),
        ("explainer.alpha=0.05", "explainer.alpha (0.01 there, 0.05 here)"),
        ("seed=3", "seed (0 there, 3 here)"),
    ],
)
def test_another_option_into_the_folder_of_a_run(
    option: str, named: str, refuse: Refuse, checkpoint: Path, finished: Path
) -> None:
    sentence = refuse("explain", f"checkpoint={checkpoint}", "users=[1]", "pages=1", f"out={finished}", option)
    assert sentence == f"{finished} holds a run of `explain` with another {named}; choose another folder with out="


def test_a_folder_whose_record_is_damaged(refuse: Refuse, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "explain.json").write_text('{"k": 1')
    sentence = refuse("explain", f"checkpoint={checkpoint}", "users=[1]", "out=out")
    assert sentence.startswith("out/explain.json is damaged")


class Payload:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("open('executed', 'w').close()",)


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def changed(whole: bytes) -> bytes:
    """One bit of the weights is another."""
    content = bytearray(whole)
    content[len(whole) // 2] ^= 1
    return bytes(content)


def program() -> bytes:
    """Return a TorchScript file; torch itself calls it deprecated."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


DAMAGE: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is damaged or no checkpoint of ours"),
    "cut short": (lambda whole: whole[:-100], "is damaged or no checkpoint of ours"),
    "cut in half": (lambda whole: whole[: len(whole) // 2], "is damaged or no checkpoint of ours"),
    "one bit": (changed, "is damaged: the checksum of its part"),
    "random": (lambda _: bytes(range(256)) * 9, "is damaged or no checkpoint of ours"),
    "random after a pickle's first byte": (
        lambda _: b"\x80" + bytes(range(256)),
        "is damaged or no checkpoint of ours",
    ),
    "pickle that runs code": (lambda _: pickle.dumps(Payload()), "is damaged or no checkpoint of ours"),
    "torch file that runs code": (
        lambda _: saved({"format": FORMAT, "weights": Payload()}),
        "is no checkpoint of ours or of RecBole: it asks for __builtin__.exec, which no checkpoint needs",
    ),
    "old torch file that runs code": (
        lambda _: saved(Payload(), _use_new_zipfile_serialization=False),
        "is damaged or no checkpoint of ours",
    ),
    "whole module": (
        lambda _: saved(torch.nn.Linear(2, 2)),
        "is no checkpoint of ours or of RecBole: it has no `config` and `state_dict` of RecBole's trainer",
    ),
    "state of another model": (
        lambda _: saved(torch.nn.Linear(2, 2).state_dict()),
        f"is no file of the format {FORMAT!r}; `recexplain train` writes it",
    ),
    "TorchScript": (lambda _: program(), "is no checkpoint of ours: it holds a TorchScript program"),
    "a tensor": (lambda _: saved(torch.zeros(2)), "is no file of the format"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_is_no_checkpoint(
    kind: str, refuse: Refuse, checkpoint: Path, finished: Path, tmp_path: Path
) -> None:
    damage, sentence = DAMAGE[kind]
    (tmp_path / "bad.ckpt").write_bytes(damage(checkpoint.read_bytes()))
    said = refuse("explain", "checkpoint=bad.ckpt", "users=[1]", f"out={finished}")
    assert said.startswith(f"bad.ckpt {sentence}")
    assert "\x1b" not in said
    assert not (tmp_path / "executed").exists()


def test_the_payload_would_run_if_it_were_let(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Payload()))  # noqa: S301  our own payload
    assert (tmp_path / "executed").exists()


def other(part: str, value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda content: {**content, part: value}


PARTS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "another version": (other("format", "recexplain checkpoint 2"), "is no file of the format"),
    "no weights": (lambda c: {k: v for k, v in c.items() if k != "weights"}, "lacks a part of the format"),
    "no vocabulary": (lambda c: {k: v for k, v in c.items() if k != "items"}, "lacks a part of the format"),
    "no data hash": (lambda c: {k: v for k, v in c.items() if k != "data_hash"}, "lacks a part of the format"),
    "weights of another kind": (other("weights", {"a": 1}), "holds weights that are no tensors"),
    "weights of another shape": (
        lambda c: {**c, "weights": {k: v[:1] for k, v in c["weights"].items()}},
        "the weights do not fit the model: size mismatch",
    ),
    "an item less": (lambda c: {**c, "items": c["items"][1:]}, "names 1348 items, but its model has 1349"),
    "another model": (lambda c: {**c, "model": {**c["model"], "name": "os.system"}}, "model must be one of BERT4Rec"),
    "foreign source": (
        other("source", {"name": "subprocess.Popen", "args": "touch executed"}),
        "the checkpoint's data is 'subprocess.Popen'; give the data it was trained on with data=",
    ),
    "source with other fields": (
        other("source", {"name": "MovieLens100K", "command": "touch executed"}),
        "the checkpoint's data cannot be read: ",
    ),
    "source with a wrong field": (
        other("source", {"name": "MovieLens100K", "min_item_ratings": "x"}),
        "the checkpoint's data cannot be read: min_item_ratings must be a whole number",
    ),
    "source that is gone": (
        other("source", {"name": "Interactions", "path": "gone.csv"}),
        "the checkpoint's data cannot be read: there is no file gone.csv; give it with data=",
    ),
    "other data": (
        other("data_hash", "0123456789abcdef"),
        "is not what part.ckpt was trained on (hash 0123456789ab); give the same ratings, or train on these",
    ),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_checkpoint_with_a_wrong_part(kind: str, refuse: Refuse, checkpoint: Path, tmp_path: Path) -> None:
    change, sentence = PARTS[kind]
    torch.save(change(torch.load(checkpoint, weights_only=True)), tmp_path / "part.ckpt")
    assert sentence in refuse("explain", "checkpoint=part.ckpt", "users=[1]", "out=new")
    assert not (tmp_path / "executed").exists()


def test_other_data_than_the_checkpoint_was_trained_on(refuse: Refuse, checkpoint: Path, finished: Path) -> None:
    words = ("explain", f"checkpoint={checkpoint}", "users=[1]", f"out={finished}")
    sentence = refuse(*words, "data=ml-100k", "data.min_item_ratings=1")
    assert "is not what" in sentence
    assert sentence.endswith("give the same ratings, or train on these")


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ratings in a file, and an untrained checkpoint that records them, named from their own folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ratings.csv"
    rows = [f"u{user},i{(user + step) % 9},{step}" for user in range(8) for step in range(6)]
    path.write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    source = Interactions("ratings.csv", min_item_ratings=1)
    data = load_dataset(source)
    model = {"name": "BERT4Rec", "n_items": 9, "max_length": 5, "dim": 8, "layers": 1, "heads": 2}
    torch.manual_seed(0)
    weights = build_model(model).state_dict()
    save_checkpoint(Checkpoint(model, weights, data.vocabulary, record(source), data.data_hash), tmp_path / "own.ckpt")
    return path


def test_a_broken_line_in_the_ratings(own_data: Path, refuse: Refuse) -> None:
    whole = own_data.read_text()
    for line, cell in (("u9,i1", "the cell is missing"), ("u9,i1,noon", "'noon' is no time"), ("u9,,3", "is empty")):
        own_data.write_text(whole + line + "\n")
        for words in (
            ("train", "data=interactions", "data.path=ratings.csv", "data.min_item_ratings=1", "out=new"),
            ("explain", "checkpoint=own.ckpt", "out=new"),
        ):
            sentence = refuse(*words)
            assert "ratings.csv, line 50, column '" in sentence
            assert cell in sentence


def test_the_recorded_data_is_found_from_another_folder(
    own_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert cli.main(["explain", "checkpoint=../own.ckpt", "users=u1", "pages=0", "out=out"]) == 0
    own_data.rename(tmp_path / "moved.csv")
    sentence = refuse("explain", "checkpoint=../own.ckpt", "users=u1", "out=new")
    assert sentence == f"the checkpoint's data cannot be read: there is no file {own_data}; give it with data="
    again = ["data=interactions", "data.path=../moved.csv", "data.min_item_ratings=1"]
    assert cli.main(["explain", "checkpoint=../own.ckpt", "users=u1", "pages=0", "out=new", *again]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["explain", "checkpoint=bad.ckpt"],
        ["train", "data=ml-1m", "data.path=nowhere"],
        ["explain", "--other"],
    ],
    ids=" ".join,
)
def test_a_process_of_its_own_says_the_same(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.ckpt").write_bytes(b"\x80" + bytes(range(256)))
    run = subprocess.run(
        [sys.executable, "-m", "recexplain", *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 2, run.stderr
    assert run.stdout == ""
    assert run.stderr.startswith("recexplain: ")
    assert run.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["bad.ckpt"]
