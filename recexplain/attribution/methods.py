"""Attribution methods by name, and the one function that runs them for one person or many."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import fields, replace
from functools import partial
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from recexplain.attribution.attention import AttentionFlow, RawAttention, Rollout
from recexplain.attribution.attention_gradients import (
    AttentionGradient,
    GenericAttribution,
    GradCam,
    TransitionAttribution,
)
from recexplain.attribution.beyond_intuition import BeyondIntuitionHead, BeyondIntuitionToken
from recexplain.attribution.decomposition import Alti, AltiL2, GlobEnc, NormRollout
from recexplain.attribution.gradients import GradientInput, GradientL2, GradientShap, IntegratedGradients
from recexplain.attribution.networks import network_entry
from recexplain.attribution.occlusion import Occlusion
from recexplain.attribution.trace import Entry, Run, Traced
from recexplain.errors import OptionError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.sasrec import SASRec
from recexplain.recommender import SCORES_ENOUGH, Recommender, id_of, number_of

PEOPLE = 32  # whose passes are made together


@runtime_checkable
class Method(Protocol):
    """An attribution: a score a place of the model's input."""

    name: ClassVar[str]
    target_specific: ClassVar[bool]  # whether two targets may get different scores
    signed: ClassVar[bool]  # whether a score below 0 says that the item speaks against the target


@runtime_checkable
class PassMethod(Method, Protocol):
    """A method that looks into the recommender's own pass, or enters its encoder."""

    def places(self, entry: Entry, targets: Tensor, /) -> Tensor:
        """Return the scores of all places, (batch, places), for targets (batch,); of padding 0."""
        ...


@runtime_checkable
class EditMethod(Method, Protocol):
    """A method that scores edited histories, and so works with every recommender."""

    def drops(
        self, recommender: Recommender, histories: Sequence[np.ndarray], targets: np.ndarray, /
    ) -> list[np.ndarray]:
        """Return (length,) float64 a history of item numbers; NaN for what the recommender does not see."""
        ...


METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Alti,
        AltiL2,
        NormRollout,
        GlobEnc,
        BeyondIntuitionToken,
        BeyondIntuitionHead,
        RawAttention,
        Rollout,
        AttentionFlow,
        AttentionGradient,
        GradCam,
        GenericAttribution,
        TransitionAttribution,
        GradientL2,
        GradientInput,
        IntegratedGradients,
        GradientShap,
        Occlusion,
    )
}


def method_of(method: str | Method, options: Mapping[str, Any] | None = None) -> Method:
    """Return a method with options by name, or the given one, which has its options already."""
    options = options or {}
    if isinstance(method, str):
        if method not in METHODS:
            raise OptionError(f"the attribution method must be one of {', '.join(METHODS)}, not {method!r}")
        known = [field.name for field in fields(METHODS[method])]  # type: ignore[arg-type]  # all are dataclasses
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise OptionError(f"{method} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
        return METHODS[method](**options)
    if options:
        raise OptionError(f"give the options to {type(method).__name__} itself, or the method by name")
    return method


def attribute(
    recommender: Recommender,
    history: Sequence[object],
    target: object,
    method: str | Method,
    *,
    against: object = None,
    **options: Any,
) -> np.ndarray:
    """Return how much each item of a history counts for a target, (length,) float64; NaN where it is not seen.

    `history` holds the user's own item ids, oldest first; `target` is any item of the catalogue. The `method` is a name
    of `recexplain.attribution.METHODS`, with its options, or an instance. What the scores mean, and whether they depend
    on the target and have a sign, the method says: its docstring, `target_specific` and `signed`. Items that the model
    does not see, such as those older than its window, get NaN; a repeated item has a score a place.

    `against`: another item, whose score is taken off the target's: what speaks for the one rather than for the other.

    `OptionError` for a method, an option, a history or a recommender that cannot be used; `UnknownIdError` for an item
    that is not in the catalogue.
    """
    others = None if against is None else [against]
    return attribute_many(recommender, [history], [target], method, against=others, **options)[0]


def attribute_many(
    recommender: Recommender,
    histories: Iterable[Sequence[object]],
    targets: Iterable[object],
    method: str | Method,
    *,
    against: Iterable[object] | None = None,
    **options: Any,
) -> list[np.ndarray]:
    """Return `attribute` of each history and target, in input order, computed in batches.

    For several targets of one person give the history as often: where the method does not depend on the target, it is
    computed once.
    """
    chosen = method_of(method, options)
    asked = [_numbers(recommender, history) for history in histories]
    items = np.array([number_of(recommender, target) for target in targets], dtype=np.int64)
    if len(asked) != len(items):
        raise OptionError(f"histories and targets must be equally many, not {len(asked)} and {len(items)}")
    rivals = None if against is None else np.array([number_of(recommender, other) for other in against], dtype=np.int64)
    if rivals is not None:
        _check_rivals(items, rivals, chosen)
    return attributions(recommender, asked, items, chosen, rivals)


def attributions(
    recommender: Recommender,
    histories: Sequence[np.ndarray],
    targets: np.ndarray,
    method: Method,
    rivals: np.ndarray | None = None,
) -> list[np.ndarray]:
    """Return (length,) float64 of each history of item numbers; NaN for what is not seen, zeros of a history included.

    `targets`: (batch,) item numbers. `rivals`: the same, whose scores are taken off those of the targets.
    """
    if isinstance(method, EditMethod):
        drops = method.drops(recommender, histories, targets)
        less = [0.0] * len(drops) if rivals is None else method.drops(recommender, histories, rivals)
        return [one - other for one, other in zip(drops, less, strict=True)]
    if not isinstance(method, PassMethod):
        raise OptionError(f"an attribution method has places or drops, which {type(method).__name__} has not")
    others = np.zeros_like(targets) if rivals is None else rivals
    keys = [_key(*asked, method) for asked in zip(histories, targets.tolist(), others.tolist(), strict=True)]
    same = {key: i for i, key in reversed(list(enumerate(keys)))}
    once = sorted(same.values(), key=lambda i: len(histories[i]))  # like lengths together: less padding
    found: dict[int, np.ndarray] = {}
    for start in range(0, len(once), PEOPLE):
        part = once[start : start + PEOPLE]
        entry = entry_of(recommender, [histories[i] for i in part], method.name)
        numbers = torch.as_tensor(targets[part], device=entry.h0.device)
        if rivals is not None:
            entry = _paired(entry, torch.as_tensor(rivals[part], device=entry.h0.device))
        found.update(zip(part, _by_position(entry, method.places(entry, numbers)), strict=True))
    return [found[same[key]].copy() for key in keys]


def _paired(entry: Entry, rivals: Tensor) -> Entry:
    """Return the same entry, of every score taken off that of the row's rival, (batch,)."""

    def run(h0: Tensor, rows: Tensor) -> Run:
        found = entry.run(h0, rows)
        return replace(found, logits=found.logits - found.logits.gather(1, rivals[rows][:, None]))

    return replace(entry, run=run)


def _check_rivals(targets: np.ndarray, rivals: np.ndarray, method: Method) -> None:
    if len(rivals) != len(targets):
        raise OptionError(f"targets and against must be equally many, not {len(targets)} and {len(rivals)}")
    if (targets == rivals).any():
        raise OptionError("against must be another item than the target")
    if not method.target_specific:
        raise OptionError(f"{method.name} does not depend on the target, so against changes nothing: leave it out")
    if getattr(method, "scalar", "logit") != "logit":
        raise OptionError("against is about the scores themselves: scalar must be logit")


def entry_of(recommender: Recommender, histories: Sequence[np.ndarray], method: str) -> Entry:
    """Return histories of item numbers at the door of a recommender's encoder; `OptionError` where it has none."""
    model = getattr(recommender, "model", None)
    if isinstance(recommender, Traced):
        enter = recommender.entry
    elif isinstance(model, BERT4Rec | SASRec):
        enter = partial(network_entry, model)
    else:
        edits = [name for name, kind in METHODS.items() if issubclass(kind, Occlusion)]
        raise OptionError(
            f"{method} must look into the recommender's Transformer, and {type(recommender).__name__} shows none; "
            f"of the attributions {', '.join(edits)} works with it, and the explainers {', '.join(SCORES_ENOUGH)}"
        )
    return replace(enter(histories), histories=tuple(histories), enter=enter)


def by_item(recommender: Recommender, history: Sequence[object], scores: np.ndarray) -> dict[str, float]:
    """Return the sum of the scores of each item of a history, in the order of first appearance; NaN where none is seen.

    >>> from recexplain.models.counting import Popularity
    >>> by_item(Popularity([], 9), [7, 3, 7], np.array([np.nan, 0.5, 0.25]))
    {'7': 0.25, '3': 0.5}
    """
    sums: dict[str, float] = {}
    for item, score in zip(history, scores, strict=True):
        name = id_of(recommender, number_of(recommender, item))
        before = sums.get(name, np.nan)
        sums[name] = float(score) if np.isnan(before) else before if np.isnan(score) else before + float(score)
    return sums


def _by_position(entry: Entry, scores: Tensor) -> Iterator[np.ndarray]:
    """Yield the scores, (batch, places), of each history by its positions."""
    values, positions = scores.detach().double().cpu().numpy(), entry.positions.cpu().numpy()
    for history, row, of_row in zip(entry.histories, values, positions, strict=True):
        found = np.full(len(history), np.nan)
        found[of_row[of_row >= 0]] = row[of_row >= 0]
        yield found


def _key(history: np.ndarray, target: int, rival: int, method: Method) -> tuple[bytes, int, int]:
    return np.asarray(history, dtype=np.int64).tobytes(), target if method.target_specific else 0, rival


def _numbers(recommender: Recommender, history: Sequence[object]) -> np.ndarray:
    if not isinstance(history, Collection) or isinstance(history, str | bytes | Set | Mapping):
        raise OptionError(f"a history must be a list of item ids, oldest first, not {history!r}")
    if len(history) == 0:
        raise OptionError("the history is empty; an attribution needs one item or more")
    return np.array([number_of(recommender, item) for item in history], dtype=np.int64)
