"""Reading RecBole's checkpoints: nothing is executed, everything wrong is a sentence, nothing is guessed."""

import os
import pickle
import random
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import recexplain
from recexplain.adapters.plain_pickle import Array, Record, Refused, read_plain
from recexplain.adapters.recbole import RecBoleRecommender
from recexplain.adapters.recbole_file import read_recbole
from recexplain.checkpoint import Checkpoint, build_model, save_checkpoint
from recexplain.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("one_thread")


def patched(path: Path, out: Path, *changes: tuple[bytes, bytes]) -> Path:
    """Write a checkpoint again with other bytes, as many, in its pickle."""
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w") as new:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("/data.pkl"):
                for old, by in changes:
                    assert old in content
                    assert len(old) == len(by)
                    content = content.replace(old, by)
            new.writestr(name, content)
    return out


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Asking:
    """An object whose pickle asks for a function to be called."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.asked = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.asked


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch harm",), "posix.system|nt.system"),
        (eval, ("open('harm', 'w')",), "builtins.eval|__builtin__.eval"),
        (exec, ("open('harm', 'w')",), "builtins.exec|__builtin__.exec"),
        (getattr, (os, "system"), "builtins.getattr|__builtin__.getattr"),
        (subprocess.Popen, (["touch", "harm"],), "subprocess.Popen|commands.Popen"),
        (Path.touch, (Path("harm"),), "getattr|pathlib"),
        (torch.load, ("harm",), "torch.serialization.load"),
        (torch.hub.load, ("harm", "x"), "torch.hub.load"),
        (np.load, ("harm",), "numpy.*load"),
        (pickle.loads, (b"",), "_pickle.loads|pickle.loads"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_a_file_asks_for_is_named_and_not_done(
    function: Any, arguments: Any, name: str, protocol: int, inside: Path
) -> None:
    if arguments[:1] == (os,):
        arguments = ("os", "system")
    for content in (
        {"config": Asking(function, *arguments), "state_dict": {}},
        {"config": {}, "state_dict": OrderedDict(x=Asking(function, *arguments))},
        [Asking(function, *arguments)],
    ):
        torch.save(content, inside / "SASRec.pth", pickle_protocol=protocol)
        with pytest.raises(recexplain.CheckpointError, match=rf"it asks for .*({name}).*nothing in it was executed"):
            recexplain.load(inside / "SASRec.pth")
    assert sorted(path.name for path in inside.iterdir()) == ["SASRec.pth"]


def pickled(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def write_zip(path: Path, content: bytes) -> None:
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in names.items():
            archive.writestr(name, content if name.endswith("/data.pkl") else old)


@pytest.mark.parametrize(
    ("module", "name"),
    [("os", "system"), ("recbole", "os.system"), ("torch", "hub"), ("torch", "load"), ("torch.nn", "x"), ("", "x")],
)
def test_no_name_gets_through_by_another_road(module: str, name: str, tmp_path: Path) -> None:
    """Only of classes in RecBole, torch.nn and PyYAML a record is kept: none of them is imported."""
    asked = text(module) + text(name) + b"\x93" + b")R"
    write_zip(tmp_path / "x.pth", pickled(asked))
    with pytest.raises(recexplain.CheckpointError, match="no checkpoint of ours or of RecBole"):
        recexplain.load(tmp_path / "x.pth")


def test_what_stands_in_for_a_class_does_nothing_and_is_made_anew(tmp_path: Path) -> None:
    """A pickle may write fields into what a name stands for: neither torch's functions nor ours may change by it."""
    defaults = torch._utils._rebuild_tensor_v2.__defaults__
    global_ = text("torch._utils") + text("_rebuild_tensor_v2") + b"\x93"
    state = b"(N}" + text("__defaults__") + b"(K\x01t" + b"s" + b"t"
    write_zip(tmp_path / "x.pth", pickled(global_, state, b"b", b"0", text("recbole.evil") + text("Thing") + b"\x93)R"))
    found = read_plain(tmp_path / "x.pth")
    assert isinstance(found, Record)
    assert torch._utils._rebuild_tensor_v2.__defaults__ == defaults
    from recexplain.adapters import plain_pickle

    assert plain_pickle._tensor.__defaults__ is None
    assert "recbole.evil" not in sys.modules
    onto_class = text("recbole.evil") + text("Thing") + b"\x93" + b"}" + text("get") + b"K\x01s" + b"b"
    write_zip(tmp_path / "y.pth", pickled(onto_class))
    with pytest.raises(recexplain.CheckpointError, match="no checkpoint of ours or of RecBole"):
        recexplain.load(tmp_path / "y.pth")
    assert callable(Record.get)


def test_arrays_and_numbers_of_numpy_come_through(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(2, 3)), np.asfortranarray(draw.normal(size=(2, 3)).astype(np.float32)),
              np.array(["a", "é"]), np.arange(3, dtype=">i2"), np.array([["x", 1]], dtype=object)]  # fmt: skip
    for protocol in (2, 4):
        torch.save(
            {"arrays": arrays, "one": np.float64(0.25), "whole": np.int64(3), "yes": np.bool_(True)},
            tmp_path / "x.pth",
            pickle_protocol=protocol,
        )
        found = read_plain(tmp_path / "x.pth")
        assert (found["one"], found["whole"], found["yes"]) == (0.25, 3, True)
        for expected, one in zip(arrays[:-1], found["arrays"][:-1], strict=True):
            assert isinstance(one, Array)
            np.testing.assert_array_equal(one.values, expected)
        assert found["arrays"][-1].values == ["x", 1]
    torch.save(np.zeros(1, dtype=[("a", "i4")]), tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(recexplain.CheckpointError, match=r"asks for numpy.dtype"):
        recexplain.load(tmp_path / "x.pth")


def test_other_files_are_refused_in_a_sentence(written: Path, tmp_path: Path) -> None:
    whole = (written / "SASRec.pth").read_bytes()
    path = tmp_path / "SASRec.pth"
    for content in (b"", whole[: len(whole) // 2], b"not a checkpoint", pickle.dumps({"config": 1})):
        path.write_bytes(content)
        with pytest.raises(recexplain.CheckpointError, match="no checkpoint of ours"):
            recexplain.load(path)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(recexplain.CheckpointError, match=r"is damaged|no checkpoint of ours"):
        recexplain.load(path)
    torch.save({"model": torch.nn.Linear(2, 2)}, path)
    with pytest.raises(recexplain.CheckpointError, match="has no `config` and `state_dict`"):
        recexplain.load(path)
    with pytest.raises(recexplain.CheckpointError, match="there is no checkpoint"):
        recexplain.load(tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("model", "changes", "sentence"),
    [
        ("DIN", [], "of the model DIN, which cannot be used: it scores candidates"),
        ("DIEN", [], "of the model DIEN, which cannot be used: it scores candidates"),
        ("KSR", [], "of the model KSR, which cannot be used: its checkpoints lack the vectors of relations"),
        ("SASRec", [(b"SASRec", b"MyOwn0")], "of the model 'MyOwn0', which is none of RecBole's sequential ones"),
        ("BERT4Rec", [(b"output_bias", b"outputXbias")], "BERT4Rec as RecBole had it up to 1.1.1"),
        ("SASRec", [(b"item_embedding.weight", b"item_embeddinX.weight")], "have no table item_embedding.weight"),
        ("SASRec", [(b"LayerNorm.bias", b"LayerXorm.bias")], "the weights do not fit SASRec: Missing key"),
        ("SASRec", [(b"MAX_ITEM_LIST_LENGTH", b"MAX_ITEM_LIST_LENGTX")], "MAX_ITEM_LIST_LENGTH must be 1 to 100,0"),
        ("SASRec", [(b"hidden_size", b"hidden_sizX")], "SASRec cannot be built from its options"),
        ("SASRecCPR", [(b"\x8c\x02CE", b"\x8c\x02BP")], "SASRecCPR cannot be built from its options"),
        ("SASRecF", [(b"item_feat", b"item_feaX")], "lacks the item features that SASRecF looks up: class, year"),
        ("ids_rare", [(b"[4,inf)", b"[4,inf]")], ""),
        ("ids_rare", [(b"[4,inf)", b"[4;inf)")], "with the interval '.4;inf.', which cannot be read"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_cannot_be_used_says_why(
    model: str, changes: list[tuple[bytes, bytes]], sentence: str, written: Path, tmp_path: Path
) -> None:
    path = patched(written / f"{model}.pth", tmp_path / f"{model}.pth", *changes)
    if not sentence:
        assert recexplain.load(path).n_items == 35
        return
    with pytest.raises(recexplain.CheckpointError, match=sentence):
        recexplain.load(path)


class Config:
    """Stands for RecBole's, in a module of that name."""

    def __init__(self, path: Path, **options: Any) -> None:
        file = read_recbole(path)
        self.model, self.final_config_dict = file.model, {**file.config, **options}


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def doubled(times: int) -> Any:
    """A list that would be as long as 2 to the power of `times`, written out."""
    found: Any = 0
    for _ in range(times):
        found = [found, found]
    return found


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"load_col": 5}, "its options of the data cannot be followed"),
        ({"val_interval": {"rating": "(a,b)"}}, "its options of the data cannot be followed"),
        ({"user_inter_num_interval": "(a,b)"}, "its options of the data cannot be followed"),
        ({"MAX_ITEM_LIST_LENGTH": 10**9}, "MAX_ITEM_LIST_LENGTH must be 1 to 100,000, not 1000000000"),
        ({"MAX_ITEM_LIST_LENGTH": 10**5000}, "MAX_ITEM_LIST_LENGTH must be 1 to 100,000, not None"),
        ({"hidden_size": "x"}, "SASRec cannot be built from its options"),
        ({"n_layers": -1}, "the weights do not fit SASRec"),
        ({"n_heads": 0}, "SASRec cannot be built from its options"),
        ({"other": itself()}, None),
        ({"other": doubled(64)}, None),
        ({"other": {1: "a", "b": 2}}, None),
        ({"other": 10**5000}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_options_that_mean_harm(
    options: dict[str, Any], sentence: str | None, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("recbole.config.configurator")
    module.Config = Config  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Config, "__module__", module.__name__)
    weights, path = dict(read_recbole(written / "SASRec.pth").weights), tmp_path / "SASRec.pth"
    content = {"config": Config(written / "SASRec.pth", **options), "state_dict": weights, "other_parameter": [1]}
    torch.save(content, path, pickle_protocol=4)
    if sentence is None:  # left out, as all that is not plain
        assert recexplain.load(path).n_items == 39
        return
    with pytest.raises(recexplain.CheckpointError, match=sentence):
        recexplain.load(path)


def test_ids_are_never_guessed(written: Path, tmp_path: Path) -> None:
    path, data = written / "SASRec.pth", written / "tiny" / "tiny.inter"
    recommender = recexplain.load(path)
    ids = list(recommender.vocabulary.ids)
    for given in ({"data": data}, {"data": data.parent}, {"data": str(written)}, {"items": ids},
                  {"items": ["[PAD]", *ids]}, {"items": tuple(ids)}):  # fmt: skip
        assert list(recexplain.load(path, **given).vocabulary.ids) == ids
    numbered = recexplain.load(path, items=range(1, 40)).vocabulary
    assert numbered.id_of(39) == "39"
    with pytest.raises(recexplain.CheckpointError, match="was trained on 39 items, but the list of items has 38"):
        recexplain.load(path, items=ids[1:])
    with pytest.raises(recexplain.DataError, match="'i25' stands twice"):
        recexplain.load(path, items=[*ids[1:], ids[1]] if ids[1] == "i25" else [*ids[:-1], "i25"])
    with pytest.raises(recexplain.OptionError, match="give either items"):
        recexplain.load(path, items=ids, data=data)
    with pytest.raises(recexplain.OptionError, match="items must be a list"):
        recexplain.load(path, items="i1")
    with pytest.raises(recexplain.DataError, match=r"there is no file .*tiny.inter"):
        recexplain.load(path, data=tmp_path)
    lost = str(written).encode()
    moved = patched(path, tmp_path / "moved.pth", (lost, b"/" + b"x" * (len(lost) - 1)))
    with pytest.raises(recexplain.CheckpointError, match=r"holds no item ids, and /x+/tiny/tiny.inter.* is not there"):
        recexplain.load(moved)
    assert list(recexplain.load(moved, data=data).vocabulary.ids) == ids


def test_other_data_is_noticed_where_it_can_be(written: Path, tmp_path: Path) -> None:
    lines = (written / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()
    for ending, kept in (("few", lines[:200]), ("more", [*lines, "u1\tnew\t5\t9999"])):
        (tmp_path / f"{ending}.inter").write_text("\n".join(kept) + "\n", encoding="utf-8")
        with pytest.raises(recexplain.CheckpointError, match=r"was trained on 39 items, but .* has"):
            recexplain.load(written / "SASRec.pth", data=tmp_path / f"{ending}.inter")
    (tmp_path / "users.inter").write_text("\n".join([*lines, "u99\ti1\t5\t9999"]) + "\n", encoding="utf-8")
    assert recexplain.load(written / "SASRec.pth", data=tmp_path / "users.inter").n_items == 39
    with pytest.raises(recexplain.CheckpointError, match="was trained on 30 users, but the data has 31"):
        recexplain.load(written / "FPMC.pth", data=tmp_path / "users.inter")
    (tmp_path / "column.inter").write_text("user:token\titem_id:token\nu\ti\n", encoding="utf-8")
    with pytest.raises(recexplain.DataError, match="no column 'user_id'"):
        recexplain.load(written / "SASRec.pth", data=tmp_path / "column.inter")
    (tmp_path / "broken.inter").write_bytes(b"user_id:token\titem_id:token\nu\t\xff\n")
    with pytest.raises(recexplain.DataError, match="cannot be read as RecBole reads it"):
        recexplain.load(written / "SASRec.pth", data=tmp_path / "broken.inter")


def test_repeated_rows_with_equal_times_leave_the_order_open(written: Path, tmp_path: Path) -> None:
    lines = (written / "tiny" / "tiny.inter").read_text(encoding="utf-8").splitlines()
    equal = [lines[0], *(line.rpartition("\t")[0] + "\t7" for line in lines[1:])]
    (tmp_path / "tiny.inter").write_text("\n".join(equal) + "\n", encoding="utf-8")
    with pytest.raises(recexplain.CheckpointError, match="rm_dup_inter, after which RecBole numbers items in an order"):
        recexplain.load(written / "ids_first.pth", data=tmp_path)


def test_ids_inside_a_checkpoint_must_agree_with_those_given(written: Path) -> None:
    recommender = recexplain.load(written / "SASRecF.pth")
    ids = list(recommender.vocabulary.ids)
    assert recexplain.load(written / "SASRecF.pth", items=ids).vocabulary.ids == tuple(ids)
    with pytest.raises(recexplain.CheckpointError, match="holds other item ids than those that were given"):
        recexplain.load(written / "SASRecF.pth", items=ids[::-1])


def test_ml_100k_is_found_in_the_package(tmp_path: Path) -> None:
    """A checkpoint made elsewhere names the folder of another machine; RecBole carries these files itself."""
    from recexplain.adapters.recbole_data import _named
    from recexplain.adapters.recbole_file import RecBoleFile

    config = {"data_path": "/somewhere/recbole/config/../dataset_example/ml-100k", "dataset": "ml-100k"}
    assert _named(RecBoleFile(tmp_path, "SASRec", config, {})).is_file()


def test_items_are_for_recbole_only(tmp_path: Path) -> None:
    model = {"name": "SASRec", "n_items": 2, "max_length": 4, "dim": 8, "layers": 1, "heads": 2, "dropout": 0.1}
    ours = Checkpoint(model, build_model(model).state_dict(), Vocabulary(("a", "b")), {}, "data")
    save_checkpoint(ours, tmp_path / "checkpoint.ckpt")
    for given in ({"items": ["1"]}, {"data": "x"}):
        with pytest.raises(recexplain.OptionError, match="a checkpoint of ours holds its item ids"):
            recexplain.load(tmp_path / "checkpoint.ckpt", **given)


def test_an_absent_device_is_refused(written: Path) -> None:
    with pytest.raises(recexplain.OptionError, match="the device 'abacus' cannot be used here"):
        recexplain.load(written / "SASRec.pth", device="abacus")


def test_loading_leaves_random_numbers_and_output_alone(written: Path, capfd: pytest.CaptureFixture[str]) -> None:
    states = torch.random.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    for name in ("SASRec", "SINE", "SASRecCPR"):
        recexplain.load(written / f"{name}.pth")
    assert torch.equal(torch.random.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert random.getstate() == states[2]
    assert capfd.readouterr() == ("", "")


def test_the_pretrained_file_that_s3rec_names_is_not_read(written: Path, tmp_path: Path) -> None:
    path = patched(written / "S3Rec.pth", tmp_path / "S3Rec.pth", (b"pretrain", b"finetune"))
    first, second = recexplain.load(written / "S3Rec.pth"), recexplain.load(path)
    history = [np.array([1, 2, 3])]
    np.testing.assert_array_equal(first.scores(history), second.scores(history))


def test_what_is_imported(written: Path) -> None:
    code = (
        "import sys, recexplain\n"
        "before = set(sys.modules)\n"
        f"recexplain.load({str(written / 'SASRec.pth')!r})\n"
        "print(*sorted(before), '|', *sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    before, after = (set(part.split()) for part in done.stdout.split("|"))
    assert not {"recbole", "pandas"} & before
    assert "recbole.model.layers" in after
    never = {"ray", "lightning", "hydra", "omegaconf", "pyspark", "sklearn", "recbole.config", "recbole.trainer",
             "recbole.quick_start", "recbole.data.dataset"}  # fmt: skip
    assert not never & after
    assert done.stderr == ""


def test_the_hash_is_of_weights_and_options(written: Path) -> None:
    first = recexplain.load(written / "SASRec.pth")
    assert isinstance(first, RecBoleRecommender)
    assert first.model_hash == recexplain.load(written / "SASRec.pth").model_hash
    assert len({recexplain.load(written / f"{name}.pth").model_hash for name in ("SASRec", "CORE", "BERT4Rec")}) == 3


def test_a_program_is_refused_by_the_reader_itself(tmp_path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, tmp_path / "x.pth")
    with zipfile.ZipFile(tmp_path / "x.pth", "a") as archive:
        archive.writestr("x/constants.pkl", b"")  # by which torch knows a program, and loads it as one
    with pytest.raises(Refused, match="a TorchScript program"):
        read_plain(tmp_path / "x.pth")
