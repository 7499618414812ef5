"""Where the nodes of a graph stand: each to the right of all that it comes from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from tablevault.queries.graph import without_circles

_SWEEPS = 4


def columns(names: Sequence[str], edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Put names into columns so that edges go to the right and seldom cross.

    Edges that close a circle are not counted: two tables may have been made from each other.
    """
    known = set(names)
    kept = [
        (source, target)
        for source, target, _ in without_circles(
            (source, target, "")
            for source, target in edges
            if source in known and target in known and source != target
        )
    ]
    depth = depths(names, kept)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in names:
        found[depth[name]].append(name)
    before: dict[str, list[str]] = defaultdict(list)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in kept:
        before[target].append(source)
        after[source].append(target)
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else after
        for column in found if sweep % 2 == 0 else reversed(found):
            _order(column, near, _places(found))
    return found


def ways(
    names: Sequence[str], edges: Iterable[tuple[str, str]], most: int
) -> dict[tuple[str, str], list[str]]:
    """Give for each edge the stops that it makes: one in each column between its ends.

    Edges from one name share their stops. They go straight where there would be more than `most`
    of them. There must be no circles.
    """
    edges = list(edges)
    depth = depths(names, edges)
    found = {
        (source, target): [
            source,
            *(_stop(source, column) for column in range(depth[source] + 1, depth[target])),
            target,
        ]
        for source, target in edges
    }
    if len({stop for way in found.values() for stop in way[1:-1]}) > most:
        return {edge: list(edge) for edge in found}
    return found


def _stop(source: str, column: int) -> str:
    """Name the place where edges from a name pass a column; no name holds a NUL."""
    return f"{source}\0{column}"


def depths(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Give the length of the longest way that leads to each name."""
    waiting = dict.fromkeys(names, 0)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        after[source].append(target)
        waiting[target] += 1
    depth = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting[name]]
    for name in ready:
        for target in after[name]:
            depth[target] = max(depth[target], depth[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)  # the loop goes on with it
    return depth


def _places(found: Sequence[Sequence[str]]) -> dict[str, float]:
    """Give the height of each name, from 0 to 1 within its column."""
    return {
        name: (place + 0.5) / len(column) for column in found for place, name in enumerate(column)
    }


def _order(
    column: list[str], near: Mapping[str, Sequence[str]], places: Mapping[str, float]
) -> None:
    """Sort a column so that each name stands beside its neighbours."""

    def middle(name: str) -> float:
        others = near.get(name, ())
        return sum(places[other] for other in others) / len(others) if others else places[name]

    column.sort(key=middle)
