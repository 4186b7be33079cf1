"""A table of people: in every form, into groups; what is no such table is refused with a sentence."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

from recexplain.checkpoint import Checkpoint
from recexplain.errors import DataError, OptionError, RecExplainError
from recexplain.evaluation import audit_users
from recexplain.evaluation.audit_extras import extras_in
from recexplain.evaluation.audit_kernel import bucket_of
from recexplain.evaluation.audit_users import Properties, UserTable, sorted_by_bucket
from recexplain.vocabulary import Vocabulary

PEOPLE = [("1", "F", "24", "artist"), ("2", "M", "", "lawyer"), ("3", "F", "7", "")]
NAMES = ["user_id", "sex", "age", "job"]
GROUPS = {
    "1": {"sex": "F", "age": "24", "job": "artist"},
    "2": {"sex": "M", "age": "not given", "job": "lawyer"},
    "3": {"sex": "F", "age": "7", "job": "not given"},
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def groups_of(properties: Properties, n_buckets: int = 4) -> dict[str, dict[str, str]]:
    return {user: groups for bucket in range(n_buckets) for user, groups in properties.of_bucket(bucket).items()}


def table(path: str, content: str, **more: Any) -> UserTable:
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    Path(path).write_text(content, encoding="utf-8")
    return UserTable(path, ("sex", "age", "job"), **more)


def text(sep: str, header: str | None = None) -> str:
    return "\n".join([sep.join(NAMES) if header is None else header, *(sep.join(row) for row in PEOPLE)]) + "\n"


def forms() -> dict[str, UserTable]:
    endings = "user_id:token\tsex:token\tage:float\tjob:token_seq"
    numbers = pd.DataFrame(PEOPLE, columns=NAMES).assign(age=[24.0, None, 7.0], user_id=[1, 2, 3])
    numbers.assign(job=["artist", "lawyer", None]).to_parquet("people.parquet")
    table("parts/a.csv", "\n".join(text(",").splitlines()[:2]))
    table("parts/b.csv", "\n".join([",".join(NAMES), *text(",").splitlines()[2:]]))
    return {
        "csv": table("people.csv", text(",")),
        "tsv": table("people.tsv", text("\t")),
        "recbole": table("people.user", text("\t", endings)),
        "headerless": table("people.dat", text("::").partition("\n")[2], header=tuple(NAMES), sep="::"),
        "parquet": UserTable("people.parquet", ("sex", "age", "job")),
        "parts": UserTable("parts", ("sex", "age", "job")),
    }


def test_every_form_of_table_says_the_same() -> None:
    for form, one in forms().items():
        properties = sorted_by_bucket(one, Path("users"), 4)
        assert groups_of(properties) == GROUPS, form
        assert properties.n_people == 3
        assert [column.labels for column in properties.columns] == [
            ("F", "M", "not given"),
            ("7", "24", "not given"),
            ("artist", "lawyer", "not given"),
        ]
        assert properties.nobody() == dict.fromkeys(("sex", "age", "job"), "not given")
        properties.drop()
        assert not Path("users").exists()


def test_people_lie_in_the_buckets_of_the_audit_or_whole_ones_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_users, "OPEN_FILES", 4)
    rows = "\n".join(f"p{n},F,1,x" for n in range(60))
    for n_buckets, n_files in ((3, 3), (9, 3), (7, 1), (8, 4)):
        properties = sorted_by_bucket(table("people.csv", f"{','.join(NAMES)}\n{rows}\n"), Path("users"), n_buckets)
        assert properties.n_buckets == n_files
        for user in (f"p{n}" for n in range(60)):
            assert user in properties.of_bucket(bucket_of(user, n_buckets))


def test_many_numbers_are_binned_whatever_their_order() -> None:
    ages = {f"p{n}": 10 + n % 50 for n in range(200)}
    named = [f"{user},{age},x,{user}" for user, age in ages.items()]
    for rows in (named, named[::-1]):
        one = table("people.csv", "user_id,age,sex,job\n" + "\n".join(rows))
        properties = sorted_by_bucket(UserTable(one.path, ("age",)), Path("users"), 2)
        labels = ("below 20", "20 to below 30", "30 to below 40", "40 to below 50", "50 or more")
        assert properties.columns[0].labels == (*labels, "not given")
        groups = groups_of(properties, 2)
        assert {user: labels.index(groups[user]["age"]) for user in ages} == {
            user: (age - 10) // 10 for user, age in ages.items()
        }


def test_numbers_that_hardly_vary_are_two_bins() -> None:
    rows = [f"p{n},{max(0, n - 960)}" for n in range(1000)]
    one = table("people.csv", "user_id,age\n" + "\n".join(rows))
    properties = sorted_by_bucket(UserTable(one.path, ("age",)), Path("users"), 2)
    assert properties.columns[0].labels == ("below 1", "1 or more", "not given")
    assert groups_of(properties, 2)["p961"] == {"age": "1 or more"}


def test_of_many_texts_the_most_frequent_stay() -> None:
    rows = [f"p{n}-{m},job {n:02}" for n in range(40) for m in range(n + 1)]
    one = table("people.csv", "user_id,job\n" + "\n".join(rows))
    properties = sorted_by_bucket(UserTable(one.path, ("job",)), Path("users"), 2)
    labels = properties.columns[0].labels
    assert labels == (*(f"job {n}" for n in range(11, 40)), "other values", "not given")
    groups = groups_of(properties, 2)
    assert (groups["p10-0"]["job"], groups["p39-0"]["job"]) == ("other values", "job 39")


BROKEN = {
    "user_id,sex,age,job\n1,F,2,x\n1,M,2,x\n": "user '1' has two rows in the table of people; everyone may have one",
    "user_id,sex,age,job\n": "the table of people people.csv holds no rows",
    "user_id,sex,job\n1,F,x\n": "people.csv has no column 'age'; its columns are user_id, sex, job",
    "user_id\tsex\n1\tF\n": "another separator is given as users.sep=",
    "user_id,sex,age,job\n,F,2,x\n": "people.csv, line 2, column 'user_id': the cell is empty",
    "user_id,sex,age,job\n1,F,2\n": "people.csv, line 2: the row has 3 cells",
}


@pytest.mark.parametrize("content", BROKEN, ids=str)
def test_a_broken_table_is_refused(content: str) -> None:
    with pytest.raises(DataError) as error:
        groups_of(sorted_by_bucket(table("people.csv", content), Path("users"), 1), 1)
    assert BROKEN[content] in str(error.value)


def test_a_column_of_texts_of_which_none_is_a_group_is_refused() -> None:
    rows = "\n".join(f"p{n},name {n}" for n in range(1001))
    with pytest.raises(OptionError, match="'name', which has more than 1,000 values that are no numbers"):
        sorted_by_bucket(UserTable(table("people.csv", f"user_id,name\n{rows}\n").path, ("name",)), Path("users"), 1)


def test_columns_taken_together_are_a_slice_more() -> None:
    crossed = (("sex", "age"), ("sex", "age", "job"))
    properties = sorted_by_bucket(table("people.csv", text(","), crossed=crossed), Path("users"), 4)
    groups = groups_of(properties)
    assert {user: groups[user]["sex & age"] for user in groups} == {"1": "F & 24", "2": "not given", "3": "F & 7"}
    assert groups["1"]["sex & age & job"] == "F & 24 & artist"
    assert groups["3"]["sex & age & job"] == "not given"
    assert properties.labels["sex & age"] == ("F & 7", "F & 24", "M & 7", "M & 24", "not given")
    assert set(properties.nobody()) == set(groups["1"]) == set(properties.labels)


def test_columns_that_make_too_many_groups_together_are_refused() -> None:
    rows = "\n".join(f"p{n},job {n % 20},town {n % 17}" for n in range(400))
    one = table("people.csv", f"user_id,job,town\n{rows}\n")
    with pytest.raises(OptionError, match="takes job & town together, which makes 340 groups; 300 at most"):
        sorted_by_bucket(UserTable(one.path, ("job", "town"), crossed=(("job", "town"),)), Path("users"), 1)


# Options


def config(**users: Any) -> Any:
    defaults = {"path": None, "user_col": "user_id", "columns": [], "crossed": [], "header": None, "sep": None}
    defaults |= {"encoding": "utf-8"}
    return OmegaConf.create(
        {
            "users": defaults | users,
            "data": None,
            "histories": {"path": None},
            "cases": 5,
            "page": True,
            "quality": {"people": 2000},
            "sensitivity": {"people": None, "checkpoint": None},
            "comparison": {"people": 3, "explainers": ["recency"]},
        }
    )


def checkpoint(name: str, **source: Any) -> Checkpoint:
    return Checkpoint({}, {}, Vocabulary(("1",)), {"name": name, **source}, "")


def test_the_table_of_movielens_is_found_and_its_numbers_are_words() -> None:
    Path("ml-1m").mkdir()
    Path("ml-1m/users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::10::55117\n")
    asked = config(columns=["gender", "age", "occupation"])
    found = extras_in(asked, checkpoint("MovieLens1M", path="ml-1m")).users
    assert found is not None
    properties = sorted_by_bucket(found, Path("users"), 2)
    assert groups_of(properties, 2) == {
        "1": {"gender": "F", "age": "under 18", "occupation": "K-12 student"},
        "2": {"gender": "M", "age": "56 or more", "occupation": "self-employed"},
        "3": {"gender": "M", "age": "25-34", "occupation": "K-12 student"},
    }
    assert properties.columns[1].labels == ("under 18", "25-34", "56 or more", "not given")  # by age, not by letter
    smaller = extras_in(asked, checkpoint("MovieLens100K")).users
    assert smaller is not None
    properties = sorted_by_bucket(smaller, Path("users"), 2)
    assert properties.n_people == 943
    assert groups_of(properties, 2)["1"]["occupation"] == "technician"
    assert len(properties.columns[1].bounds) == 4


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no column": ({"path": "people.csv"}, "users.columns names no column: users.columns="),
    "no list": ({"columns": "age"}, "users.columns must be a list of names such as [gender,age], not 'age'"),
    "a number": ({"columns": ["age"], "user_col": 3}, "users.user_col must be a text, not 3"),
    "crossed no list": (
        {"columns": ["age", "sex"], "crossed": ["age", "sex"]},
        "users.crossed must be a list of lists of columns such as [[gender,age]], not ['age', 'sex']",
    ),
    "crossed with itself": ({"columns": ["age"], "crossed": [["age", "age"]]}, "users.crossed must be a list of lists"),
    "crossed unnamed": (
        {"columns": ["age"], "crossed": [["age", "sex"]], "path": "x.csv"},
        "users.crossed names 'sex', which is not among users.columns; name it there too",
    ),
    "no table": ({"columns": ["age"]}, "users.columns needs users.path, a table of people"),
    "taken": ({"columns": ["popularity"], "path": "x.csv"}, "as a slice of every report is called"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(name: str) -> None:
    users, sentence = WRONG[name]
    with pytest.raises(OptionError) as error:
        extras_in(config(**users), checkpoint("Interactions", path="ratings.csv"))
    assert sentence in str(error.value)


def test_wrong_numbers_and_names_are_refused() -> None:
    asked = config()
    for change, sentence in (
        ({"page": 1}, "page must be true or false, not 1"),
        ({"cases": -1}, "cases must be a whole number of 0 or more, or null for none, not -1"),
        ({"quality": {"people": 1.5}}, "quality.people must be a whole number"),
        ({"comparison": {"people": 1, "explainers": "x"}}, "comparison.explainers must be a list of names"),
        ({"comparison": {"people": 1, "explainers": ["x"]}}, "'x'"),
        ({"sensitivity": {"people": 1, "checkpoint": "none.ckpt"}}, "there is no checkpoint none.ckpt"),
    ):
        with pytest.raises(RecExplainError) as error:
            extras_in(OmegaConf.merge(asked, change), checkpoint("Interactions", path="ratings.csv"))
        assert sentence in str(error.value)
