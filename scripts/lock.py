"""Renews the constraints: resolves core, models and development tools together, afresh, and pins what came out.

    .venv/bin/python scripts/lock.py constraints.txt

Nothing is installed: pip resolves and reports. Resemblyzer is pinned beside them, since it is installed without its
own dependencies and must not take part in the resolution.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = "# The whole set, core and models together, as it was resolved and tested. Renewed by `make lock`.\n"
ALONE = ("Resemblyzer",)


def resolve(*arguments: str) -> dict[str, str]:
    """Name to version of everything pip would install in an empty environment. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            str(report),
        ]
        subprocess.run([*command, *arguments], check=True)
        found = json.loads(report.read_text())["install"]
    return {item["metadata"]["name"]: item["metadata"]["version"] for item in found}


def main(target: Path) -> None:
    pins = resolve("-e", ".[models,dev]")
    pins |= resolve("--no-deps", *ALONE)
    pins.pop("fluxions")
    # A local version (`2.13.0+cpu`) names one build of a release; the pin must let every machine take its own.
    lines = [
        f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(pins.items(), key=lambda pin: pin[0].lower())
    ]
    target.write_text(HEADER + "".join(lines))
    print(f"{target}: {len(lines)} pins", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
