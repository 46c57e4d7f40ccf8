"""The page of settings is what the code says, and a wrong setting is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli.options import load_settings
from schemas.settings import documented

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "scripts.settings_table", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)


def test_the_page_holds_the_settings_of_the_code() -> None:
    result = run_script("--check", "docs/settings.md")
    assert result.returncode == 0, result.stderr


def test_a_stale_page_is_found_and_renewed(tmp_path: Path) -> None:
    page = tmp_path / "settings.md"
    page.write_text((ROOT / "docs" / "settings.md").read_text().replace("| `FLUXIONS_HOST` |", "| `FLUXIONS_GHOST` |"))
    assert run_script("--check", str(page)).returncode == 1
    assert run_script(str(page)).returncode == 0
    assert page.read_text() == (ROOT / "docs" / "settings.md").read_text()


def test_every_setting_has_a_sentence() -> None:
    assert [name for _, name, _, sentence in documented() if not sentence.endswith(".")] == []


def test_a_value_out_of_bounds_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUXIONS_PORT", "99999")
    with pytest.raises(typer.BadParameter, match="FLUXIONS_PORT"):
        load_settings()
