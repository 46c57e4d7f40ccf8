"""The language of Prometheus as far as the dashboard and the alert rules use it, over scrapes that a test has made.

Semantics are those of Prometheus: a series that is absent from a scrape has ended, `rate` and `increase` extrapolate to the
ends of their window, and a counter that decreases began again at 0.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any, Final

import promql_parser
from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Points = list[tuple[float, float]]
"""(moment, value), oldest first; NaN where the series ended."""

_LOOKBACK_SECS: Final = 300.0
_JOINED: Final[dict[str, Callable[[float, float], float]]] = {
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
}
_COMPARED: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": lambda a, b: a > b,
    "==": lambda a, b: a == b,
}


class Scrapes:
    """Samples of one target, by name and labels. ``at`` is the moment of the last scrape."""

    def __init__(self) -> None:
        self.at = 0.0
        self._series: dict[tuple[str, Labels], Points] = defaultdict(list)

    def add(self, moment: float, text: str | None) -> None:
        """The answer to a scrape at ``moment``; None if there was none."""
        found = {("up", frozenset()): float(text is not None)}
        for family in text_string_to_metric_families(text or ""):
            found |= {(one.name, frozenset(one.labels.items())): one.value for one in family.samples}
        for ended in self._series.keys() - found.keys():
            if not math.isnan(self._series[ended][-1][1]):
                self._series[ended].append((moment, math.nan))
        for key, value in found.items():
            self._series[key].append((moment, value))
        self.at = moment

    def select(self, selector: Any, secs: float) -> dict[Labels, Points]:
        """The points of the last ``secs``, by labels, of the series that a selector names."""
        matchers = selector.matchers.matchers
        return {
            labels: [point for point in points if self.at - secs < point[0] <= self.at]
            for (name, labels), points in self._series.items()
            if name == selector.name and all(_matches(one, dict(labels)) for one in matchers)
        }


def evaluate(expression: str, scrapes: Scrapes) -> Vector:
    """The value of an expression at the last scrape."""
    found = _value(promql_parser.parse(expression), scrapes)
    assert isinstance(found, dict), expression
    return found


def _matches(matcher: Any, labels: dict[str, str]) -> bool:
    value = "fluxions" if matcher.name == "part" else labels.get(matcher.name, "")
    match str(matcher.op).rpartition(".")[2]:
        case "Equal":
            return bool(value == matcher.value)
        case "NotEqual":
            return bool(value != matcher.value)
        case "Re":
            return re.fullmatch(matcher.value, value) is not None
        case other:
            raise NotImplementedError(other)


def _value(node: Any, scrapes: Scrapes) -> float | Vector:
    match type(node).__name__:
        case "NumberLiteral":
            return float(node.val)
        case "VectorSelector":
            newest = {labels: points[-1][1] for labels, points in scrapes.select(node, _LOOKBACK_SECS).items() if points}
            return {labels: value for labels, value in newest.items() if not math.isnan(value)}
        case "BinaryExpr":
            return _binary(str(node.op), _value(node.lhs, scrapes), _value(node.rhs, scrapes))
        case "AggregateExpr":
            return _aggregate(node, scrapes)
        case "Call":
            return _call(node, scrapes)
        case other:
            raise NotImplementedError(other)


def _binary(op: str, left: float | Vector, right: float | Vector) -> Vector:
    if isinstance(left, float):
        assert isinstance(right, dict)
        assert op in _JOINED
        return {labels: _JOINED[op](left, value) for labels, value in right.items()}
    others = dict.fromkeys(left, right) if isinstance(right, float) else right
    both = left.keys() & others.keys()
    if op == "and":
        return {labels: left[labels] for labels in both}
    if op in _JOINED:
        return {labels: _JOINED[op](left[labels], others[labels]) for labels in both}
    return {labels: left[labels] for labels in both if _COMPARED[op](left[labels], others[labels])}


def _aggregate(node: Any, scrapes: Scrapes) -> Vector:
    vector = _value(node.expr, scrapes)
    assert isinstance(vector, dict)
    if str(node.op) == "topk":
        return dict(sorted(vector.items(), key=lambda one: -one[1])[: int(node.param.val)])
    assert str(node.op) == "sum", node.op
    kept = set(node.modifier.labels) if node.modifier else set()
    sums: dict[Labels, float] = defaultdict(float)
    for labels, value in vector.items():
        sums[frozenset(one for one in labels if one[0] in kept)] += value
    return dict(sums)


def _call(node: Any, scrapes: Scrapes) -> Vector:
    name = node.func.name
    if name == "histogram_quantile":
        buckets = _value(node.args[1], scrapes)
        assert isinstance(buckets, dict)
        return _quantiles(float(node.args[0].val), buckets)
    secs = node.args[0].range.total_seconds()
    windows = scrapes.select(node.args[0].vector_selector, secs)
    found = {labels: _increase(points, scrapes.at, secs) for labels, points in windows.items()}
    divided_by = {"rate": secs, "increase": 1.0}[name]
    return {labels: value / divided_by for labels, value in found.items() if value is not None}


def _increase(points: Points, at: float, secs: float) -> float | None:
    """`increase` of Prometheus (`extrapolatedRate` in its promql/functions.go); None for fewer than two points."""
    points = [point for point in points if not math.isnan(point[1])]
    if len(points) < 2:
        return None
    values = [value for _, value in points]
    grown = sum(b - a if b >= a else b for a, b in itertools.pairwise(values))
    (first, _), (last, _) = points[0], points[-1]
    sampled = last - first
    spacing = sampled / (len(points) - 1)
    before, after = first - (at - secs), at - last
    before, after = (secs_off if secs_off < 1.1 * spacing else spacing / 2 for secs_off in (before, after))
    if grown > 0:  # A counter is not extrapolated below 0.
        before = min(before, sampled * values[0] / grown)
    return grown * (sampled + before + after) / sampled


def _quantiles(share: float, buckets: Vector) -> Vector:
    """`histogram_quantile` of Prometheus, by the labels without ``le``."""
    groups: dict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        groups[frozenset(one for one in labels if one[0] != "le")].append((float(dict(labels)["le"]), count))
    return {labels: _quantile(share, sorted(group)) for labels, group in groups.items()}


def _quantile(share: float, bounds: Iterable[tuple[float, float]]) -> float:
    """``bounds``: (upper bound, number of observations up to it), ascending."""
    bounds = list(bounds)
    wanted = share * bounds[-1][1]
    if not wanted:
        return math.nan
    low, below = 0.0, 0.0
    for high, count in bounds:
        if count >= wanted:
            return low if math.isinf(high) else low + (high - low) * (wanted - below) / (count - below)
        low, below = high, count
    return low
