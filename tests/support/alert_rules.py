"""The alert rules and the dashboard of `deploy/observability`, evaluated over scrapes of a running instance."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import promql_parser
import yaml

from tests.support.processes import ROOT
from tests.support.promql import Labels, Scrapes, Vector, evaluate

FOLDER: Final = ROOT / "deploy" / "observability"
EVERY_SECS: Final = 15.0
"""The interval of scrapes in `prometheus.yaml`."""


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def waits_secs(rule: dict[str, Any]) -> float:
    """How long a rule's expression must be true before the rule fires, s."""
    return float(promql_parser.parse_duration(rule["for"]).total_seconds()) if "for" in rule else 0.0


class Watch:
    """What Prometheus and Grafana would show. ``scrape`` gives an endpoint's answer, None if it does not answer.

    The scrapes of a test follow each other sooner than Prometheus' own; they count as `EVERY_SECS` apart.
    """

    def __init__(self, scrape: Callable[[], str | None]) -> None:
        self._scrape = scrape
        self._scrapes = Scrapes()
        self._rules = rules()
        self._since: dict[tuple[str, Labels], float] = {}

    def look(self, times: int = 1) -> dict[str, str]:
        """Scrape so many times. The alerts that are ``pending`` or ``firing`` after the last, by name."""
        for _ in range(times):
            self._scrapes.add(self._scrapes.at + EVERY_SECS, self._scrape())
            self._evaluate()
        found = {}
        for (name, _), since in sorted(self._since.items(), key=lambda one: -one[1]):
            found[name] = "firing" if self._scrapes.at - since >= waits_secs(self._rules[name]) else "pending"
        return found

    def labels(self, alert: str) -> list[dict[str, str]]:
        """The labels of each series for which the alert's expression is true."""
        return [dict(labels) for name, labels in self._since if name == alert]

    def panel(self, title: str) -> Vector:
        """The values of a panel's first expression on the dashboard."""
        panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
        (expression,) = (panel["targets"][0]["expr"] for panel in panels if panel["title"] == title)
        return evaluate(expression, self._scrapes)

    def _evaluate(self) -> None:
        true = {(name, labels) for name, rule in self._rules.items() for labels in evaluate(rule["expr"], self._scrapes)}
        self._since = {one: self._since.get(one, self._scrapes.at) for one in true}
