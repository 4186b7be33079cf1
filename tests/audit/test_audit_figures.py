"""What a report counts, with answers known by hand: groups, gaps, popularity, replacements, samples."""

import json
import pickle
from collections import Counter
from dataclasses import replace
from itertools import combinations
from math import comb, log2
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_ind

from recexplain.evaluation.audit_drawn import Drawn, Sample
from recexplain.evaluation.audit_gaps import Slice, dimension, fisher, holm, put_together, welch
from recexplain.evaluation.audit_groups import Group, figures, mean_of, spread
from recexplain.evaluation.audit_popularity import Shifts, fifths, gini, recommended_figures
from recexplain.evaluation.audit_report import Counts, report_of
from recexplain.evaluation.audit_sensitivity import by_chance
from recexplain.evaluation.audit_staging import sample_key
from recexplain.evaluation.audit_tally import Tally, length_label
from recexplain.explanation import Explanation
from recexplain.vocabulary import Vocabulary

FILMS = Vocabulary(tuple("abcdefgh"), {"a": "Alien"}, {"a": ("sf",), "b": ("sf", "war"), "c": ("war",), "f": ("war",)})

BASE = Explanation(None, (), 0, "f", 1, 3, "top1", "delete", "causal", "optimal", before=("f", "g", "a"), seed=5)


def row(user: str, history: str, **fields: Any) -> dict[str, Any]:
    """A row; `gone` names the positions of its set."""
    gone = fields.pop("gone", ())
    if gone:
        fields |= {"positions": gone, "items": tuple(history[p] for p in gone), "after": ("g", "h", "a")}
        fields = {"replacement": "g", "null_rate": 0.1, "holds_under": ("pad",)} | fields
    explanation = replace(BASE, user=user, history=tuple(history), **fields)
    return replace(explanation, digest=explanation.fingerprint()).to_dict()


ROWS = [
    row("u1", "abc", gone=(2,), evaluations=3, criticality=(0.0, 0.5, 0.5)),
    row("u2", "abca", gone=(0, 1), evaluations=20, null_rate=0.5, replacement="c", after=("c", "g"), status="found"),
    row("u3", "ab", gone=(1,), target="c", replacement="h", before=("c", "a"), holds_under=()),
    row("u4", "ad", status="none_up_to", proven_size=2, evaluations=3),
    row("u5", "xyz", status="error", error="item 'x' is not in the catalogue", before=(), target=""),
]


def report(rows: list[dict[str, Any]], groups: dict[str, str] | None = None, n_cases: int = 5) -> dict[str, Any]:
    tally = tally_of(rows, groups, n_cases)
    shifts = Shifts(tally.taken)
    for one in rows:
        shifts.add(one)
    return as_report(tally, shifts, groups)


def tally_of(rows: list[dict[str, Any]], groups: dict[str, str] | None = None, n_cases: int = 5) -> Tally:
    tally = Tally(FILMS, n_cases, 3)
    for one in rows:
        tally.add(one, {} if groups is None else {"team": groups[one["user"]]})
    return tally


def as_report(tally: Tally, shifts: Shifts, groups: dict[str, str] | None = None) -> dict[str, Any]:
    columns = {} if groups is None else {"team": sorted({*groups.values()})}
    cases = {kind: [one.row["user"] for one in sample.people(sample.n)] for kind, sample in tally.cases.items()}
    slices = [*tally.slices(columns), shifts.slice]
    return report_of(Counts(tally, shifts, slices, cases=cases), {"quality": {}}, k=3)


def test_a_report_by_hand() -> None:
    found = report(ROWS)
    assert {status: one["n"] for status, one in found["outcomes"]["statuses"].items() if one["n"]} == {
        "optimal": 2,
        "found": 1,
        "none_up_to": 1,
        "error": 1,
    }
    assert (found["outcomes"]["explained"]["n"], found["outcomes"]["explained"]["of"]) == (3, 5)
    assert found["outcomes"]["size"]["mean"] == pytest.approx(4 / 3, abs=1e-6)
    assert found["sizes"] == {"counts": {"1": 2, "2": 1}, "mean": 1.333333, "median": 1}
    assert found["outcomes"]["weak_of_explained"]["n"] == 1
    assert found["positions"]["from_newest"] == {"0": 2, "2": 1, "3": 1}
    assert found["positions"]["newest_item_alone"]["n"] == 2
    assert [found["cross_semantics"]["pad"][name] for name in ("n", "of", "share")] == [2, 3, 0.666667]
    assert found["none_found_proven_up_to"] == {"2": 1}
    assert found["evaluations"] == {"total": 26, "mean": 5.2, "people_below": {"1": 2, "4": 2, "32": 1}}
    assert found["errors"] == [{"reason": "item '…' is not in the catalogue", "people": 1}]
    # taken: a 5 times (twice by u2), b 3, c 2, d 1; what the model does not know is no item
    assert found["popularity"]["of_items_in_histories"] == round((25 + 9 + 4 + 1) / 11, 6)
    assert found["popularity"]["of_explaining_items"] == round((2 + 5 + 3 + 3) / 4, 6)
    assert found["items"]["explaining"][0] == {"item": "b", "title": "b", "people": 2, "in_histories": 3}
    assert found["items"]["explaining"][1]["title"] == "Alien"
    assert found["items"]["critical"] == [
        {"item": "b", "title": "b", "people": 1, "in_histories": 3, "weight": 0.5},
        {"item": "c", "title": "c", "people": 1, "in_histories": 2, "weight": 0.5},
    ]


def test_what_replaces_by_hand() -> None:
    found = report(ROWS)
    # u1: f (0 times) by g (0 times, second before); u2: f by c (2, not in the list); u3: c (2) by h (0, not in it)
    replaced = found["replacements"]
    assert replaced["people"] == 3
    assert replaced["rank"] == {"counts": {"2": 1}, "beyond": 2, "k": 3, "median": None}
    assert [replaced["popularity"][how]["n"] for how in ("more_popular", "less_popular", "equal")] == [1, 1, 1]
    assert replaced["popularity"]["explained"] == replaced["popularity"]["replacing"] == round(2 / 3, 6)
    assert replaced["popularity"]["ratio"] == 1.0
    # f is war, c is war: of the explaining c a b b three are of the target's category, of replacements c is
    same = found["categories"]["same_as_explained"]
    assert (same["explaining_items"]["n"], same["explaining_items"]["of"]) == (3, 4)
    assert (same["items_in_histories"]["n"], same["items_in_histories"]["of"]) == (5, 9)
    assert (same["replacing_items"]["n"], same["replacing_items"]["of"]) == (1, 1)
    # of the ten items with a category 8 are sf (a a a a a b b b), 5 are war (b b b c c)
    shares = {one["category"]: one for one in found["categories"]["shares"]}
    assert shares["sf"]["in_histories"] == 0.8
    assert shares["war"] == {"category": "war", "in_histories": 0.5, "explaining": 0.75, "explained": 1, "replacing": 1}


def test_what_is_recommended_by_hand() -> None:
    found = report(ROWS)["quality"]["recommended"]
    assert (found["lists"], found["k"]) == (4, 3)
    assert found["coverage"] == {"n": 4, "of": 8, "share": 0.5}  # f g a three times, c a once
    assert found["popularity"]["recommended"] == round((4 * 5 + 2) / 11, 6)
    assert found["popularity"]["ratio"] == pytest.approx((22 / 11) / (39 / 11), abs=1e-6)
    # a 5 of 11 places, b 3, c 2, d 1: before b 45 %, before c 73 %, before d 91 %: d and the four never taken
    assert found["long_tail"]["items"] == 5
    assert (found["long_tail"]["recommended"]["n"], found["long_tail"]["recommended"]["of"]) == (6, 11)
    assert (found["long_tail"]["consumed"]["n"], found["long_tail"]["consumed"]["of"]) == (1, 11)


def test_the_gini_index_is_the_mean_difference_over_twice_the_mean() -> None:
    for counts, n_items in (([5, 3, 2, 1], 9), ([1, 1, 1], 3), ([7], 4)):
        whole = counts + [0] * (n_items - len(counts))
        differences = sum(abs(x - y) for x in whole for y in whole)
        wanted = differences / (2 * n_items * sum(whole))
        assert gini({str(i): n for i, n in enumerate(counts)}, n_items) == pytest.approx(wanted, abs=1e-6)
    assert gini({}, 4) is None


def test_nobody_at_all_is_a_report_too() -> None:
    tally = Tally(FILMS)
    found = report_of(Counts(tally, Shifts(tally.taken), []), {"quality": {}}, k=3)
    assert found["outcomes"]["explained"]["share"] is None
    assert found["quality"]["recommended"]["popularity"] == {"recommended": None, "consumed": None, "ratio": None}
    only_error = report(ROWS[-1:])
    assert only_error["replacements"]["popularity"]["ratio"] is None
    assert only_error["categories"]["shares"] == []


def test_the_order_of_rows_changes_nothing() -> None:
    many = [
        row(f"p{n}", "abcdefgh"[: 2 + n % 7], gone=(n % 2,), null_rate=n / 97, criticality=(n / 61, 1 / 3))
        for n in range(60)
    ] + ROWS
    teams = {one["user"]: f"team {one['user'][-1]}" for one in many}
    wanted = json.dumps(report(many, teams, 2))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(many))
        assert json.dumps(report([many[place] for place in order], teams, 2)) == wanted
    assert json.dumps(report(many[1:], teams, 2)) != wanted


def test_cases_are_of_their_kinds() -> None:
    cases = report(ROWS)["cases"]
    assert {kind: set(users) for kind, users in cases.items()} == {
        "typical": {"u1", "u2", "u3"},
        "largest": {"u1", "u2", "u3"},
        "unexplained": {"u4"},
        "unspecific": {"u2"},
        "error": {"u5"},
    }
    assert report(ROWS, n_cases=1)["cases"]["largest"] == ["u2"]
    assert report(ROWS, n_cases=0)["cases"]["typical"] == []


def test_a_sample_is_the_beginning_of_a_larger_one() -> None:
    keys = [sample_key(0, str(n)) for n in range(50)]
    small, large = Sample(3), Sample(10)
    for key in keys:
        small.offer(Drawn(key, {}, {}))
    for key in reversed(keys):
        assert large.takes(key) == (len(large.people(10)) < 10 or key < large.people(10)[-1].key)
        large.offer(Drawn(key, {}, {}))
    assert [one.key for one in small.people(3)] == sorted(keys)[:3]
    assert not Sample(0).takes("0")
    assert [one.key for one in large.people(10)] == sorted(keys)[:10]
    assert [one.key for one in large.people(4)] == sorted(keys)[:4]


# Groups and gaps


def group(n_people: int, n_found: int, *, size: int = 1, rate: float = 0.0, rank: int | None = None) -> Group:
    statuses = Counter({"optimal": n_found, "none_up_to": n_people - n_found})
    ranks = Counter[int]() if rank is None else Counter({rank: n_people})
    return Group(statuses, Counter({size: n_found}), Counter({rate: n_found}), 0, ranks)


def test_means_and_ndcg_by_hand() -> None:
    assert mean_of(Counter({1: 1, 2: 1, 6: 2}))["mean"] == 3.75
    one = Group(ranks=Counter({1: 1, 3: 1, 10: 1, 11: 1}))
    assert figures(one)["ndcg"]["mean"] == pytest.approx((1 + 0.5 + 1 / log2(11)) / 4, abs=1e-6)
    assert mean_of({}) == {"n": 0, "mean": None, "low": None, "high": None}
    assert mean_of({7: 1}) == {"n": 1, "mean": 7.0, "low": None, "high": None}
    assert mean_of({0: 99, 1: 1})["low"] == 0  # never below what a number of 0 or more can be
    both = group(10, 4, size=2) + group(5, 5, size=3, rank=1)
    assert (both.n_people, both.n_found, both.sizes, both.ranks) == (15, 9, Counter({2: 4, 3: 5}), Counter({1: 5}))


def test_the_tests_of_gaps_are_those_of_the_books() -> None:
    assert fisher(3, 4, 1, 4) == pytest.approx(34 / 70)  # the lady who tastes tea
    one, other = [1, 2, 2, 5], [3, 4, 9]
    wanted = ttest_ind(one, other, equal_var=False).pvalue
    assert welch(spread(Counter(one)), spread(Counter(other))) == pytest.approx(wanted)
    assert welch(spread({1: 9}), spread({1: 5})) == 1.0
    assert welch(spread({1: 9}), spread({2: 5})) == 0.0
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_gap_is_flagged_where_it_is_large_and_sure() -> None:
    flagged = dimension(Slice("team", "team", [("x", group(100, 50)), ("y", group(100, 90))], is_user_column=True))
    assert flagged["n_flags"] == 2
    (flag,) = flagged["groups"][0]["flags"]
    assert (flag["figure"], flag["group"], flag["others"], flag["gap"]) == ("explained", 0.5, 0.9, -0.4)
    assert flag["p"] == pytest.approx(fisher(50, 100, 90, 100), rel=1e-2)
    assert flag["p_corrected"] > flag["p"]
    small = dimension(Slice("team", "team", [("x", group(40_000, 30_000)), ("y", group(40_000, 31_500))]))
    assert small["n_flags"] == 0  # beyond chance, but 3.75 percentage points only
    few = dimension(Slice("team", "team", [("x", group(29, 0)), ("y", group(100, 100))]))
    assert few["n_flags"] == 0
    sizes = dimension(Slice("team", "team", [("x", group(50, 50)), ("y", group(50, 50, size=2, rate=0.15, rank=1))]))
    assert {flag["figure"] for flag in sizes["groups"][1]["flags"]} == {"size", "null_rate"}
    ranks = dimension(Slice("team", "team", [("x", group(50, 50, rank=5)), ("y", group(50, 50, rank=1))]))
    assert {flag["figure"] for flag in ranks["groups"][1]["flags"]} == {"ndcg"}


def test_the_correction_counts_all_groups_of_a_slice() -> None:
    two = [("x", group(100, 81)), ("y", group(100, 96))]
    assert dimension(Slice("s", "s", two))["n_flags"] == 2
    others = [(f"g{n}", group(100, 90)) for n in range(20)]
    assert dimension(Slice("s", "s", [*two, *others]))["n_flags"] == 0


def test_small_groups_are_put_together() -> None:
    of = {"a": 50, "b": 3, "c": 12, "d": 4, "e": 0}
    shown = put_together([(name, group(n, n)) for name, n in of.items()])
    assert [(label, one.n_people) for label, _, one in shown] == [("a", 50), ("other groups", 19)]
    assert shown[1][1] == "3 groups together, of which some have fewer than 10 people"
    shown = put_together([(name, group(n, n)) for name, n in {"a": 50, "b": 6, "c": 12, "d": 4}.items()])
    assert [(label, one.n_people) for label, _, one in shown] == [("a", 50), ("c", 12), ("other groups", 10)]
    assert [label for label, _, _ in put_together([("a", group(10, 1)), ("b", group(11, 1))])] == ["a", "b"]
    assert put_together([("a", group(3, 1))])[0][:2] == ("other groups", "a group of fewer than 10 people")


def test_slices_by_popularity_and_length_by_hand() -> None:
    taken = Counter({"a": 50, "b": 30, "c": 15, "d": 5})
    assert fifths(taken) == {50: 0, 30: 2, 15: 4, 5: 4}
    shifts = Shifts(taken)
    for number, target in enumerate("a" * 12 + "b" * 11 + "cdh" * 5):
        shifts.add(row(f"u{number}", "ab", gone=(0,), target=target))
    shifts.add(ROWS[-1])
    assert [(label, one.n_people) for label, one in shifts.slice.groups] == [
        ("50 times", 12),
        ("30 times", 11),
        ("at most 15 times", 15),
        ("no item: an error", 1),
    ]
    assert [length_label(n) for n in (0, 1, 2, 9, 10, 199, 200, 5000)] == [
        *("0 to 1", "0 to 1", "2 to 9", "2 to 9", "10 to 19", "100 to 199", "200 or more", "200 or more"),
    ]
    assert recommended_figures(Counter(), Counter(), 4, n_lists=0, k=3)["long_tail"]["items"] == 4


def test_chance_is_the_mean_over_all_sets() -> None:
    for one, other, n in ((1, 1, 4), (2, 3, 5), (3, 3, 4), (2, 1, 2)):
        mine = set(range(one))
        mean = sum(len(mine & {*c}) / len(mine | {*c}) for c in combinations(range(n), other)) / comb(n, other)
        assert by_chance(one, other, n) == pytest.approx(mean)


def test_rows_counted_in_parts_and_sent_from_elsewhere_are_counted_as_one() -> None:
    groups = {one["user"]: "red" if one["user"] in ("u1", "u4") else "blue" for one in ROWS}
    whole, wanted = report(ROWS, groups, n_cases=1), tally_of(ROWS, groups, n_cases=1)
    for cut, is_turned in ((1, False), (3, True), (0, False)):
        parts = [tally_of(rows, groups, n_cases=1) for rows in (ROWS[:cut], ROWS[cut:])]
        sent = pickle.loads(pickle.dumps(parts[::-1] if is_turned else parts))  # noqa: S301  our own
        assert not any(hasattr(one, "vocabulary") for one in sent)  # a catalogue may be large
        tally = Tally(FILMS, 1, 3)
        for part in sent:
            tally.merge(part)
        assert tally.rows_hash == wanted.rows_hash
        shifts = Shifts(tally.taken)
        for rows in (ROWS[cut:], ROWS[:cut]):
            part = Shifts(tally.taken)
            for one in rows:
                part.add(one)
            shifts.merge(pickle.loads(pickle.dumps(part)))  # noqa: S301  our own
        assert json.dumps(as_report(tally, shifts, groups)) == json.dumps(whole)
        assert [one.key for one in tally.sample.people(3)] == [one.key for one in wanted.sample.people(3)]
        for name, counts in vars(wanted).items():
            if isinstance(counts, Counter | int):
                assert getattr(tally, name) == counts, name
