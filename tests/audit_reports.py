"""A small `report.json` of an audit with figures known by hand, and titles and names that try to be markup."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recexplain.explanation import STATUSES, Explanation
from recexplain.report.board import Board, Metric, Row, Score

EVIL = "<script>alert(1)</script> --> \"' & {{ 7 * 7 }} $x$"

FOUND = Explanation(
    user=f"ann {EVIL}", history=("9", "1", "2", "3", "4"), n_unseen=1, target="5", target_rank=1, k=3, change="leaves",
    removal="delete", explainer="causal", status="optimal", positions=(2, 4), items=("2", "4"), replacement="6",
    before=("5", "6", "7"), after=("6", "8", "7"), proven_size=1, evaluations=1234, null_rate=0.05, n_minimal=2,
    alternatives=((1, 4),), holds_under=("pad",), seed=17,
)  # fmt: skip
NOTHING = replace(
    FOUND, user="ben", status="none_up_to", positions=(), items=(), replacement=None, after=(), proven_size=2,
    null_rate=None, n_minimal=None, alternatives=(), holds_under=(),
)  # fmt: skip
ERROR = replace(NOTHING, user="cy", status="error", target="", before=(), proven_size=0, error=f"no {EVIL}")
TITLES = {"1": "Alien (1979)", "2": EVIL, "4": "M*A*S*H (1970)", "5": "Heat (1995)", "6": "Brazil (1985)"}


def share(n: int, of: int, low: float = 0.25, high: float = 0.75) -> dict[str, Any]:
    """A share; the interval is no real one."""
    return {"n": n, "of": of, "share": n / of if of else None, "low": low if of else None, "high": high if of else None}


def mean(value: float | None, n: int = 10) -> dict[str, Any]:
    """A mean, half a unit to both sides."""
    known = value is not None
    return {
        "n": n if known else 0, "mean": value, "low": value - 0.5 if known else None,
        "high": value + 0.5 if known else None,
    }  # fmt: skip


def group(name: str | None = None, **counts: int) -> dict[str, Any]:
    """The figures of a group by the number of people of each status; sets hold two items."""
    n, found = sum(counts.values()), sum(counts.get(status, 0) for status in ("optimal", "irreducible", "found"))
    figures = {
        "people": n,
        "statuses": {status: share(counts.get(status, 0), n) for status in STATUSES},
        "explained": share(found, n),
        "optimal_of_explained": share(counts.get("optimal", 0), found),
        "weak_of_explained": share(0, found),
        "size": mean(2.0 if found else None, found),
        "null_rate": mean(0.1 if found else None, found),
        "ndcg": mean(0.5, n),
    }
    return figures if name is None else {"group": name, "note": "", **figures, "flags": []}


def case(explanation: Explanation, *, edges: int = 1) -> dict[str, Any]:
    """A person with a graph of the five last nodes; without edges None."""
    n = len(explanation.history) - explanation.n_unseen
    graph = {
        "about": f"Graph of {EVIL}.", "first": explanation.n_unseen, "nodes": n + 1, "distances": {},
        "edges": [[0, n, "circle", "arrow"]],
    }  # fmt: skip
    return {"user": explanation.user, "explanation": explanation.to_dict(), "graph": graph if edges else None}


def board() -> dict[str, Any]:
    """Two explainers, one of which could not be run."""
    metrics = (
        Metric("size_all", "size, all", "lower", "size", "everyone", f"items {EVIL}"),
        Metric("evaluations", "evaluations", "lower", "cost", "everyone", "edited histories"),
    )
    scores = tuple(Score(one.name, 2.0, 1.5, 2.5, 10, True, False, 0.0, 0.0, 0.0, 10) for one in metrics)
    row = Row(EVIL, "toy", "", 10, None, (("optimal", 10),), (), scores, ((2, 10),))
    gone = Row("attention", "attention", "", 10, f"no attention {EVIL}", (("error", 10),), ())
    settings = (("change", "leaves"), ("k", "3"), ("removal", "delete"), ("max_evaluations", "200"))
    return Board(settings, 10, 10, 5, 1000, (0.0, 1.0), metrics, (row, gone)).to_dict()


def report(**changes: Any) -> dict[str, Any]:
    """A report of ten people; `changes` replace whole parts of it."""
    item = {"item": "2", "title": EVIL, "people": 3, "in_histories": 7}
    flag = {"figure": "explained", "group": 0.5, "others": 0.9, "gap": -0.4, "p": 0.001, "p_corrected": 0.0125}
    kinds = (("typical", f"typical {EVIL}", [FOUND.user]), ("largest", "largest sets", [FOUND.user]))
    check = {
        "name": "weights", "title": f"shuffled {EVIL}", "about": EVIL, "wanted": "low", "people": 4,
        "found_before": share(4, 4), "found_again": share(3, 4), "found_both": 3, "jaccard": mean(0.5, 3),
        "same": share(1, 3), "by_chance": 0.125, "more": [{"name": "holds", "about": EVIL, "share": share(1, 4)}],
    }  # fmt: skip
    return {
        "format": "recexplain audit 2",
        "identity": {
            "model": {"name": f"BERT4Rec {EVIL}", "dim": 8}, "explainer": {"_target_": "Causal", "alpha": 0.01},
            "change": "leaves", "k": 3, "tau": None, "wanted": None, "wanted_category": None, "removal": "delete",
            "locked": [], "costs": None, "seed": 17, "split": f"one out {EVIL}", "model_hash": "model-hash-1",
            "data_hash": "data-hash-2", "histories_hash": "histories-hash-3", "version": "9.8.7",
        },
        "quality": {
            "trained": {"test": {EVIL: {"ndcg10": 0.25, "hr10": 0.5, "mrr": 0.125}}, "seconds": 1.5},
            "newest_item": {
                "about": f"How {EVIL}.", "drawn": "10 people", "k": 3, "people": 10, "ndcg": mean(0.5),
                "hit_rate": share(5, 10), "mrr": mean(0.25),
            },
            "recommended": {
                "lists": 10, "k": 3, "coverage": {"n": 15, "of": 30, "share": 0.5},
                "popularity": {"recommended": 6.0, "consumed": 4.0, "ratio": 1.5},
                "gini": {"recommended": 0.75, "consumed": None},
                "long_tail": {
                    "about": "Long tail: rare.", "items": 9, "recommended": share(1, 30), "consumed": share(0, 0),
                },
            },
        },
        "sample": {
            "drawn": f"10 people {EVIL}", "seed": 17, "history": "full", "unknown_items": "error",
            "people_in_table": 12, "people": 10, "excluded": [{"reason": f"not drawn {EVIL}", "people": 2}],
        },
        "counts": {"people_in": 10, "people_out": 10, "items_in_histories": 50, "unknown_items_left_out": 1},
        "verify": f"recexplain verify explanations=x {EVIL}",
        "rows_hash": "rows-hash-4",
        "outcomes": group(optimal=6, irreducible=2, none_up_to=1, error=1),
        "none_found_proven_up_to": {"2": 1},
        "sizes": {"counts": {"1": 3, "2": 4, "30": 1}, "mean": 2.5, "median": 2},
        "positions": {"from_newest": {"0": 5, "3": 2}, "median": 0, "newest_item_alone": share(2, 8)},
        "specificity": {"null_rate_counts": {"0.0": 7, "0.1": 1}, "null_rate_mean": 0.1, "weak": share(0, 8)},
        "cross_semantics": {"pad": share(4, 8), "mask": share(0, 0)},
        "evaluations": {"total": 12345, "mean": 1234.5, "people_below": {"2048": 10}},
        "items": {
            **{kind: [item] for kind in ("explaining", "explained", "replacing", "recommended")},
            "critical": [{**item, "weight": 1.5}],
        },
        "popularity": {"of_items_in_histories": 4.0, "of_explaining_items": 3.0, "of_replacing_items": None},
        "replacements": {
            "people": 8, "rank": {"counts": {"2": 5}, "beyond": 3, "k": 3, "median": 2},
            "popularity": {
                "explained": 3.0, "replacing": 6.0, "ratio": 2.0, "more_popular": share(6, 8),
                "less_popular": share(1, 8), "equal": share(1, 8),
            },
        },
        "categories": {
            "same_as_explained": {"explaining_items": share(5, 8)},
            "shares": [
                {"category": EVIL, "in_histories": 0.5, "explaining": 0.25, "explained": None, "replacing": 1.0}
            ],
        },
        "slices": {
            "rule": {"about": [f"A gap is {EVIL}."]},
            "users": {"hash": "users-hash-5", "people": 12, "user_col": "user_id", "columns": ["x"]},
            "dimensions": [
                {
                    "name": "x", "title": f"by {EVIL}", "is_user_column": True, "n_flags": 1,
                    "groups": [
                        group(EVIL, optimal=2, error=2) | {"flags": [flag]},
                        group("-- <b>", optimal=4, irreducible=2),
                    ],
                }
            ],
        },
        "sensitivity": {"people": 4, "drawn": "4 people", "checks": [check]},
        "comparison": {"people": 10, "drawn": "10 people", "board": board()},
        "errors": [{"reason": f"no {EVIL}", "people": 1}],
        "cases": {
            "kinds": [
                *({"kind": kind, "title": title, "about": EVIL, "users": users} for kind, title, users in kinds),
                {"kind": "unexplained", "title": "unexplained", "about": "None.", "users": ["ben"]},
                {"kind": "error", "title": "errors", "about": "None.", "users": ["cy"]},
            ],
            "titles": TITLES,
            "people": [case(FOUND), case(NOTHING), case(ERROR, edges=0)],
        },
        "limits": [f"It does not say {EVIL}."],
        "gates": [
            {"name": "explained", "bound": 0.75, "measured": 0.8, "is_passed": True},
            {"name": "size_max", "bound": 2.0, "measured": 2.5, "is_passed": False},
        ],
        "run": {
            "date": "2026-01-02", "engine": "local", "workers": 1, "cores": 2, "buckets": 4, "seconds": 1.0,
            "explained_in_this_run": 10, "people_a_minute": 600.0, "python": "3.11", "machine": "Linux",
            "commit": "abc", "comparison_seconds": {EVIL: [0.25, 0.5]},
        },
    } | changes  # fmt: skip


def nobody(**counts: int) -> dict[str, Any]:
    """The report of an audit in which nobody was explained; everything that can be absent is."""
    none = share(0, 0)
    n = sum(counts.values())
    return report(
        quality={"trained": {}, "newest_item": None, "recommended": None},
        counts={"people_in": n, "people_out": n, "items_in_histories": 0, "unknown_items_left_out": 0},
        outcomes=group(**counts),
        none_found_proven_up_to={},
        sizes={"counts": {}, "mean": None, "median": None},
        positions={"from_newest": {}, "median": None, "newest_item_alone": none},
        specificity={"null_rate_counts": {}, "null_rate_mean": None, "weak": none},
        cross_semantics={},
        evaluations={"total": 0, "mean": None, "people_below": {}},
        items={kind: [] for kind in ("explaining", "critical", "explained", "replacing", "recommended")},
        popularity=dict.fromkeys(("of_items_in_histories", "of_explaining_items")),
        replacements={
            "people": 0,
            "rank": {"counts": {}, "beyond": 0, "k": 3, "median": None},
            "popularity": {
                **dict.fromkeys(("explained", "replacing", "ratio")),
                **dict.fromkeys(("more_popular", "less_popular", "equal"), none),
            },
        },
        categories={"same_as_explained": {"explaining_items": none}, "shares": []},
        slices={"rule": {"about": []}, "users": None, "dimensions": []},
        sensitivity=None,
        comparison=None,
        errors=[],
        cases={"kinds": [], "titles": {}, "people": []},
        gates=[],
    )


def changed(known: Mapping[str, Any], name: str, **more: Any) -> dict[str, Any]:
    """A report with entries of one of its parts replaced."""
    return {**known, name: {**known[name], **more}}
