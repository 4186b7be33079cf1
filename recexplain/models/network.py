"""A network as a recommender: padding, device and evaluation mode are its own business."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from recexplain.errors import OptionError
from recexplain.models.bert4rec import BERT4Rec
from recexplain.models.deletions import Deletions
from recexplain.models.sasrec import SASRec
from recexplain.models.threads import side_by_side
from recexplain.recommender import one_thread
from recexplain.vocabulary import Vocabulary

Network = BERT4Rec | SASRec

PLACES = {"cpu": 12_800, "cuda": 131_072}  # in one forward pass; more no longer fit a core's cache. cuda: not measured
SUMMED = 51_200  # places in a pass that begins with sums: most of it goes part by part anyway
WORTH_SUMS = 256  # deletions of one size from a history: sums for fewer take longer than they save
SUMS = 128 * 2**20  # bytes that they take at the most
SHARED = 3_200  # places in the pass of a thread at the least, where threads share a batch; fewer are not worth it
ROUNDING = 1e-4  # by as much scores may differ, relative to those above 1; see `counterfactual.CLOSE`
ALIKE = 32  # histories of one length that are worth a pass of their own, without padding
KEPT = 31 * 2**20  # bytes; see `_keep_pages`


class NetworkRecommender:
    """One of our networks behind the `Recommender` protocol; a history longer than the window loses its oldest items.

    The model is moved to the device, and stays there. After no item at all it scores what it expects first.
    """

    def __init__(
        self,
        model: Network,
        vocabulary: Vocabulary | None = None,
        *,
        device: str = "cpu",
        model_hash: str = "",  # of a checkpoint; explanations carry both on
        data_hash: str = "",
    ) -> None:
        try:
            if not isinstance(device, str | torch.device):
                raise OptionError(f"device must be a text such as cpu or cuda:0, not {device!r}")
            self.device = torch.device(device)
            self.model = model.to(self.device)
        except (RuntimeError, AssertionError) as error:  # torch's own words for an unknown or absent device
            raise OptionError(f"the device {device!r} cannot be used here: {str(error).splitlines()[0]}") from None
        self.vocabulary, self.model_hash, self.data_hash = vocabulary, model_hash, data_hash
        self.n_items, self.max_length, self.mask_item = model.n_items, model.max_length, model.mask_item
        self._modules = tuple(model.modules())
        _keep_pages()

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Return the score of every item after each history, (batch, n_items + 1) float32; column 0 is -inf."""
        scores = np.empty((len(histories), self.n_items + 1), dtype=np.float32)
        scores[:, 0] = -np.inf
        n_places = self.model.encoder.n_places
        lengths = np.array([min(len(history) + 1, n_places) for history in histories], dtype=int)

        def fill(rows: np.ndarray) -> None:
            with torch.inference_mode():
                inputs = self._padded([histories[row] for row in rows], mask=self.mask_item)
                scores[rows, 1:] = self.model.predict(inputs).float().cpu().numpy()

        with _evaluating(self._modules):
            if self.device.type == "cpu":
                side_by_side(fill, list(batches_of(lengths, _shared_places(lengths, PLACES["cpu"]))))
            else:
                for rows in batches_of(lengths, PLACES["cuda"]):
                    fill(rows)
        return scores

    def deleting(self, history: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Return what scores one history without some of its items, faster than `scores` where they are many.

        It takes (sets, size) int64, ascending places in the history, and returns (sets, n_items + 1) float32. The model
        must not change meanwhile.
        """
        return _Deleting(self, history)

    def attention(self, history: np.ndarray, target: int) -> np.ndarray:
        """Return the attention, (layers, heads, m + 1, m + 1) float64, of the newest m items and the target."""
        inputs = self._padded([np.append(history, target)])
        with _evaluating(self._modules), torch.inference_mode():
            _, weights = self.model.explain(inputs)
        found: np.ndarray = weights[0].double().cpu().numpy()
        return found

    def _padded(self, histories: Sequence[np.ndarray], *, mask: int | None = None) -> Tensor:
        """(batch, longest) int64, cut to the newest that fit, padded with 0 on the left; one place at the least.

        Behind the items stands the mask, if one is given: it makes the network say what comes next.
        """
        n_behind = int(mask is not None)
        room = self.model.encoder.n_places - n_behind
        cut = [history[-room:] for history in histories]
        lengths = np.array([len(history) for history in cut])
        longest = max(int(lengths.max()), 1 - n_behind)
        items = np.full((len(cut), longest + n_behind), mask or 0, dtype=np.int64)
        items[:, :longest] = 0
        items[:, :longest][np.arange(longest) >= longest - lengths[:, None]] = np.concatenate(cut)
        return torch.from_numpy(items).to(self.device)


class _Deleting:
    """Scores one history without sets of its items; keeps the sums for the size that came last.

    Sums stand in for `scores` only where they say the same of two of the sets: a network or a recommender that somebody
    has changed may do otherwise than our layers.
    """

    def __init__(self, recommender: NetworkRecommender, history: np.ndarray) -> None:
        self._recommender, self._history = recommender, history
        self._sums: Deletions | None = None
        self._is_ours = True  # as far as is known

    def __call__(self, places: np.ndarray) -> np.ndarray:
        sums = self._sums_of(places)
        if sums is None:
            return self._recommender.scores(self._without(places))
        return self._summed(sums, places)

    def _summed(self, sums: Deletions, places: np.ndarray) -> np.ndarray:
        recommender, n_sets = self._recommender, len(places)
        scores = np.empty((n_sets, recommender.n_items + 1), dtype=np.float32)
        scores[:, 0] = -np.inf
        is_sure = np.empty(n_sets, dtype=bool)

        def fill(rows: np.ndarray) -> None:
            with torch.inference_mode():
                states, sure = sums.last(torch.from_numpy(places[rows]))
                scores[rows, 1:] = recommender.model.logits(states).float().numpy()
                is_sure[rows] = sure.numpy()

        lengths = np.full(n_sets, sums.n - sums.size)
        with _evaluating(recommender._modules):
            side_by_side(fill, list(batches_of(lengths, _shared_places(lengths, SUMMED))))
        if not is_sure.all():
            scores[~is_sure] = recommender.scores(self._without(places[~is_sure]))
        return scores

    def _without(self, places: np.ndarray) -> list[np.ndarray]:
        return [np.delete(self._history, some) for some in places]

    def _sums_of(self, places: np.ndarray) -> Deletions | None:
        """Return the sums for sets of this size, or None where they are not to be had, or not worth it."""
        n_sets, size = places.shape
        if self._sums is not None and self._sums.size == size:
            return self._sums
        recommender = self._recommender
        mask = recommender.mask_item  # without it places look at older ones only
        if mask is None or n_sets < WORTH_SUMS or not self._is_ours or not self._can_sum(size):
            return None
        items = torch.from_numpy(np.append(self._history, mask))
        with _evaluating(recommender._modules), torch.inference_mode(), one_thread():  # too small to be shared
            sums = Deletions(recommender.model.encoder, items, size)
        ends = places[[0, -1]]
        plainly = recommender.scores(self._without(ends))
        self._is_ours = np.allclose(self._summed(sums, ends), plainly, rtol=ROUNDING, atol=ROUNDING)
        self._sums = sums if self._is_ours else None
        return self._sums

    def _can_sum(self, size: int) -> bool:
        encoder, length = self._recommender.model.encoder, len(self._history) + 1
        return (
            self._recommender.device.type == "cpu"
            and len(encoder.layers) > 1
            and size + 1 < length <= encoder.n_places
            and encoder.item_embedding.weight.dtype == torch.float32
            and bool(self._history.all())
            and Deletions.n_bytes(encoder, length, size) <= SUMS
        )


def batches_of(lengths: np.ndarray, n_places: int) -> Iterator[np.ndarray]:
    """Yield the numbers of the rows that go together: like lengths, at most so many places with the padding.

    A batch of one row may have more places.
    """
    order = np.argsort(lengths, kind="stable")
    while order.size:
        longest = lengths[order]
        stop = max(1, int((longest * np.arange(1, len(order) + 1) <= n_places).sum()))
        n_shorter = int(np.searchsorted(longest, longest[stop - 1]))
        if n_shorter >= ALIKE:
            stop = n_shorter
        yield order[:stop]
        order = order[stop:]


def _shared_places(lengths: np.ndarray, most: int) -> int:
    """Return how many places go into one pass on CPU, `most` at most, for every thread to have as many passes."""
    total, longest, n_threads = int(lengths.sum()), int(lengths.max(initial=1)), torch.get_num_threads()
    n_passes = max(-(-total // most), min(n_threads, total // SHARED), 1)
    n_passes = -(-n_passes // n_threads) * n_threads if n_passes > 1 else 1
    return min(most, -(-total // n_passes) + longest)


def _keep_pages() -> None:
    """Let the process keep the memory that one batch frees for the next.

    glibc takes the size of the largest block that was ever freed, up to 32 MB, for the bound above which a block gets
    new pages and gives them back, and twice that for what it holds free; from its own 128 kB it would ask the system
    anew for most of every batch, which takes as long as half the scoring. Elsewhere this does nothing.
    """
    torch.empty(KEPT, dtype=torch.uint8)


@contextmanager
def _evaluating(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Without dropout; the training flags are put back, after an error too."""
    training = [module for module in modules if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
