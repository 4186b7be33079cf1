"""Which marks follow from the skeleton and the separating sets: rules R0 to R10.

The rules are those of Zhang, "On the completeness of orientation rules for causal discovery in the presence of latent
confounders and selection bias" (Artificial Intelligence 172, 2008), whose letters name the nodes here. Each rule sweeps
the graph once, in ascending order, with immediate effect, and says whether it changed anything; `close` repeats a group
until a round changes nothing. In rules, `*` stands for any mark and `o` for a circle: `a *-> b o-* c`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import combinations, cycle, islice, product

from recexplain.causal.pag import ARROW, CIRCLE, TAIL, Draft, Pag, members

Rule = Callable[[Pag], bool]


def r0(pag: Pag) -> bool:
    """R0: a *-* b *-* c, a and c not adjacent, b not in what separated them => a *-> b <-* c."""
    changed = False
    for b in pag.nodes:
        beside = pag.adjacent(b)
        for a in members(beside):
            for c in members(beside & ~pag.adjacent(a) & ~(1 << a)):
                if b not in pag.separating_set(a, c):
                    pag.set_mark(a, b, ARROW)
                    changed = True
                    break
    return changed


def r1(pag: Pag) -> bool:
    """R1: a *-> b o-* c, a and c not adjacent => b -> c."""
    changed = False
    arrows, circles = pag.all_here(ARROW), pag.all_here(CIRCLE)
    for b in pag.nodes:
        if circles[b]:
            for a in members(arrows[b]):
                for c in members(circles[b] & ~pag.adjacent(a)):
                    pag.orient(b, c)
                    changed = True
    return changed


def r2(pag: Pag) -> bool:
    """R2: a *-o c, and either a *-> b -> c or a -> b *-> c => a *-> c."""
    changed = False
    arrows, circles = pag.all_here(ARROW), pag.all_here(CIRCLE)
    for b in pag.nodes:
        if arrows[b]:
            for c in members(pag.children(b)):
                for a in members(arrows[b] & circles[c]):
                    pag.set_mark(a, c, ARROW)
                    changed = True
    for c in pag.nodes:
        if circles[c]:
            for b in members(arrows[c]):
                for a in members(pag.parents(b) & circles[c]):
                    pag.set_mark(a, c, ARROW)
                    changed = True
    return changed


def r3(pag: Pag) -> bool:
    """R3: a *-> b <-* c, a *-o d o-* c, a and c not adjacent, d *-o b => d *-> b."""
    changed = False
    arrows, circles = pag.all_here(ARROW), pag.all_here(CIRCLE)
    for b in pag.nodes:
        if arrows[b]:
            for d in members(circles[b]):
                sides = arrows[b] & circles[d]
                if any(sides & ~pag.adjacent(a) & ~(1 << a) for a in members(sides)):
                    pag.set_mark(d, b, ARROW)
                    changed = True
    return changed


def r4(pag: Pag) -> bool:
    """R4: a path <d, ..., a, b, c> that discriminates for b, b o-* c => b -> c or a <-> b <-> c.

    The former where b is in what separated d and c. With contradicting separating sets a later path overwrites what
    an earlier one wrote; the order is b, c, a, each list as it stood before its first change, and of the paths over
    one a only the first found counts.
    """
    return _discriminate(pag, lambda *path: list(islice(_discriminating_ends(*path), 1)))


def r4_every(pag: Pag) -> bool:
    """R4, where every discriminating path counts."""
    return _discriminate(pag, _discriminating_ends)


def _discriminate(pag: Pag, ends: Callable[[Pag, int, int, int], Iterable[int]]) -> bool:
    changed = False
    for b in pag.nodes:
        for c in members(pag.here(b, CIRCLE)):
            for a in members(pag.parents(c) & pag.there(b, ARROW)):
                for d in ends(pag, a, b, c):
                    if b in pag.separating_set(d, c):
                        pag.orient(b, c)
                    else:
                        pag.connect(a, b, ARROW, ARROW)
                        pag.connect(b, c, ARROW, ARROW)
                    changed = True
    return changed


def _discriminating_ends(pag: Pag, a: int, b: int, c: int) -> Iterator[int]:
    """Yield the d of the discriminating paths <d, ..., a, b, c>, depth first from a.

    Every node between d and b is a collider on the path and a parent of c; d is not adjacent to c. A node looks for d
    among its own neighbours before it hands on the search.
    """
    tried = 1 << b | 1 << c
    stack = [a]
    while stack:
        inner = stack.pop()
        tried |= 1 << inner
        into = pag.here(inner, ARROW) & ~tried
        yield from members(into & ~pag.adjacent(c))
        onward = into & pag.parents(c) & pag.there(inner, ARROW)
        stack += reversed(members(onward))


def r5(pag: Pag) -> bool:
    """R5: a o-o b and an uncovered circle path <a, x, ..., y, b>, a and y, x and b not adjacent => all tails."""
    changed = False
    edges = [(u, v) for u in pag.nodes for v in members(_circle_neighbours(pag, u))]
    for a, b in edges:  # as they were before the sweep
        for path in _circle_paths(pag, a, b):
            for u, v in zip(path, [*path[1:], a], strict=True):
                pag.connect(u, v, TAIL, TAIL)
            changed = True
    return changed


def _circle_paths(pag: Pag, a: int, b: int) -> Iterator[list[int]]:
    """Yield an uncovered circle path a..b for each choice of its second and last but one node that has one.

    Which nodes there are to choose from is settled before the first path is yielded.
    """
    seconds = members(_circle_neighbours(pag, a) & ~pag.adjacent(b) & ~(1 << b))
    lasts = members(_circle_neighbours(pag, b) & ~pag.adjacent(a) & ~(1 << a))
    for x, y in product(seconds, lasts):
        between = uncovered_path(pag, (a, x), y, _circle_neighbours, after=b)
        if between:
            yield [a, *between, b]


def r6(pag: Pag) -> bool:
    """R6: a --- b o-* c => b -* c, a tail at b."""
    changed = False
    for b in pag.nodes:
        if pag.here(b, TAIL) & pag.there(b, TAIL):
            for c in members(pag.here(b, CIRCLE)):
                pag.set_mark(c, b, TAIL)
                changed = True
    return changed


def r7(pag: Pag) -> bool:
    """R7: a --o b o-* c, a and c not adjacent => b -* c, a tail at b."""
    changed = False
    for b in pag.nodes:
        for a in members(pag.here(b, CIRCLE) & pag.there(b, TAIL)):
            for c in members(pag.here(b, CIRCLE) & ~pag.adjacent(a) & ~(1 << a)):
                pag.set_mark(c, b, TAIL)
                changed = True
    return changed


def r8(pag: Pag) -> bool:
    """R8: a -> b -> c or a --o b -> c, and a o-> c => a -> c."""
    changed = False
    for a, c in _partly_directed(pag):
        if pag.here(a, TAIL) & ~pag.there(a, TAIL) & pag.parents(c):
            pag.set_mark(c, a, TAIL)
            changed = True
    return changed


def r9(pag: Pag) -> bool:
    """R9: a o-> c and an uncovered potentially directed path <a, b, ..., c>, b and c not adjacent => a -> c."""
    changed = False
    for a, c in _partly_directed(pag):
        for b in members(pag.possible_children(a) & ~pag.adjacent(c) & ~(1 << c)):
            if uncovered_path(pag, (a, b), c, Pag.possible_children):
                pag.set_mark(c, a, TAIL)
                changed = True
                break
    return changed


def r10(pag: Pag) -> bool:
    """R10: a o-> c, b -> c <- d, uncovered potentially directed paths <a, e, ..., b> and <a, f, ..., d> => a -> c.

    Where e and f are distinct and not adjacent; e may be b, and f may be d. The paths do not lead through c.
    """

    def path(a: int, e: int, b: int, c: int) -> list[int]:
        return uncovered_path(pag, (a, e), b, lambda pag, v: pag.possible_children(v) & ~(1 << c))

    return _tail_by_two_paths(pag, path)


def r10_reference(pag: Pag) -> bool:
    """R10 as causality-lab (commit 812235d) has it, which adds tails that are not invariant.

    Only the first step of the two paths must be potentially directed, and they must be uncovered with c as the node
    after b and after d as well.
    """

    def path(a: int, e: int, b: int, c: int) -> list[int]:
        return uncovered_path(pag, (a, e), b, Pag.adjacent, after=c)

    return _tail_by_two_paths(pag, path)


def _tail_by_two_paths(pag: Pag, path: Callable[[int, int, int, int], list[int]]) -> bool:
    """Apply R10, where `path(a, e, b, c)` is one of the two paths or empty."""
    changed = False
    for a, c in _partly_directed(pag):
        seconds, lasts = members(pag.possible_children(a) & ~(1 << c)), members(pag.parents(c))
        if len(seconds) < 2 or len(lasts) < 2:
            continue
        ends = {e: [b for b in lasts if path(a, e, b, c)] for e in seconds}
        if any(
            b != d for e, f in combinations(ends, 2) if not pag.is_adjacent(e, f) for b, d in product(ends[e], ends[f])
        ):
            pag.set_mark(c, a, TAIL)
            changed = True
    return changed


ARROW_RULES: tuple[Rule, ...] = (r1, r2, r3, r4)
ARROW_RULES_AT_ONCE: tuple[Rule, ...] = (r1, r2, r3, r4_every)
SELECTION_RULES: tuple[Rule, ...] = (r5, r6, r7)
TAIL_RULES: tuple[Rule, ...] = (r8, r9, r10)
TAIL_RULES_REFERENCE: tuple[Rule, ...] = (r8, r9, r10_reference)


def close(pag: Pag, rules: Sequence[Rule]) -> None:
    """Apply the rules in turn until a whole round changes nothing."""
    n_idle = 0
    for rule in cycle(rules):
        n_idle = 0 if rule(pag) else n_idle + 1
        if n_idle == len(rules):
            return


def close_at_once(pag: Pag, rules: Sequence[Rule]) -> None:
    """Apply the rules in turn until a whole round changes nothing, each one to the graph as it stood before it.

    A mark that is no circle stays. An end for which a rule concludes both an arrow and a tail gets an arrow.
    """
    close(pag, [partial(_apply_at_once, rule) for rule in rules])


def _apply_at_once(rule: Rule, pag: Pag) -> bool:
    draft = Draft(pag)
    rule(draft)
    circles = [(x, y, mark) for (x, y), mark in draft.written.items() if pag.mark(x, y) == CIRCLE]
    for x, y, mark in circles:
        pag.set_mark(x, y, mark)
    return bool(circles)


def _partly_directed(pag: Pag) -> Iterator[tuple[int, int]]:
    """Yield the edges a o-> c, each as it is reached."""
    for a in pag.nodes:
        for c in members(pag.here(a, CIRCLE) & pag.there(a, ARROW)):
            yield a, c


def _circle_neighbours(pag: Pag, x: int) -> int:
    return pag.here(x, CIRCLE) & pag.there(x, CIRCLE)


def uncovered_path(
    pag: Pag, start: tuple[int, int], goal: int, step: Callable[[Pag, int], int], *, after: int | None = None
) -> list[int]:
    """Return the nodes first..goal of an uncovered path <before, first, ..., goal, after>, or nothing.

    `start` is (before, first). On an uncovered path no node is adjacent to the next but one. Nodes follow each other by
    `step`: straight to `goal` where that is possible, else ascending, depth first. `goal` alone is always a path.
    """
    if start[1] == goal:
        return [goal]
    free = ~sum(1 << v for v in {*start, goal, after} if v is not None)
    beside_goal = 0 if after is None else pag.adjacent(after)

    def finishes(u: int, v: int) -> bool:
        is_next = (step(pag, v) & ~pag.adjacent(u)) >> goal & 1
        return bool(is_next) and not beside_goal >> v & 1

    def onward(u: int, v: int) -> int:
        return step(pag, v) & ~pag.adjacent(u) & free

    hopeful = _hopeful_steps(start, finishes, onward)

    def extend(u: int, v: int, unused: int) -> list[int]:
        if finishes(u, v):
            return [v, goal]
        for w in members(onward(u, v) & unused):
            if (v, w) in hopeful and (rest := extend(v, w, unused & ~(1 << w))):
                return [v, *rest]
        return []

    return extend(*start, free)


def _hopeful_steps(
    start: tuple[int, int], finishes: Callable[[int, int], bool], onward: Callable[[int, int], int]
) -> set[tuple[int, int]]:
    """Return the steps (u, v) reachable from `start` from which a walk, if not a path, finishes.

    Without them the search for a path that does not exist would take exponential time.
    """
    came_from: dict[tuple[int, int], list[tuple[int, int]]] = {start: []}
    queue = [start]
    for u, v in queue:
        for w in members(onward(u, v)):
            if (v, w) not in came_from:
                came_from[v, w] = []
                queue.append((v, w))
            came_from[v, w].append((u, v))
    hopeful = [state for state in queue if finishes(*state)]
    found = set(hopeful)
    for state in hopeful:
        for earlier in came_from[state]:
            if earlier not in found:
                found.add(earlier)
                hopeful.append(earlier)
    return found
