"""The README's table of settings is what the code says, and a wrong setting is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from schemas.settings import documented
from serve.cli.options import load_settings

ROOT = Path(__file__).resolve().parents[2]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "scripts" / "settings_table.py")
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_readme_holds_the_settings_of_the_code() -> None:
    result = run_script("--check", "README.md")
    assert result.returncode == 0, result.stderr


def test_a_stale_table_is_found_and_renewed(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text((ROOT / "README.md").read_text().replace("| `FLUXIONS_HOST` |", "| `FLUXIONS_GHOST` |"))
    assert run_script("--check", str(readme)).returncode == 1
    assert run_script(str(readme)).returncode == 0
    assert readme.read_text() == (ROOT / "README.md").read_text()


def test_every_setting_has_a_sentence() -> None:
    assert [name for _, name, _, sentence in documented() if not sentence.endswith(".")] == []


def test_a_value_out_of_bounds_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_PORT", "99999")
    with pytest.raises(typer.BadParameter, match="FLUXIONS_PORT"):
        load_settings()
