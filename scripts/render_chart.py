"""Writes the chart with its default values as plain manifests: ``python -m scripts.render_chart FILE``.

Needs the extra ``deploy``, which has Helm as a library. Keys come from a Secret named ``fluxions-keys``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

CHART = Path(__file__).resolve().parents[1] / "deploy" / "helm" / "fluxions"
PLAIN = CHART.parents[1] / "kubernetes" / "fluxions.yaml"
PLAIN_VALUES: dict[str, Any] = {"existingSecret": "fluxions-keys"}
_HEAD = """# The chart deploy/helm/fluxions with its default values, for `kubectl apply -f`.
# Rendered by scripts/render_chart.py.
# First: kubectl create secret generic fluxions-keys --from-literal=operator=fx_... --from-literal=node=fx_... \\
#          --from-literal=default=fx_... --from-literal=prefect=fluxions:...
"""


def rendered(values: dict[str, Any], namespace: str = "default") -> dict[str, str]:
    """Manifests by the path of their template. Raises HelmError."""
    import helm_python

    with helm_python.Chart.load(CHART) as chart:
        found: dict[str, str] = chart.render(values, name="fluxions", namespace=namespace)
    return {name: text for name, text in sorted(found.items()) if text.strip() and name.endswith(".yaml")}


def plain() -> str:
    """The content of deploy/kubernetes/fluxions.yaml."""
    parts = ["\n".join(line.rstrip() for line in text.strip().splitlines()) for text in rendered(PLAIN_VALUES).values()]
    return _HEAD + "---\n" + "\n---\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(plain())
