"""What README, CONTRIBUTING and the pages of `docs/` tell a reader to do exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
import typer

from cli import output
from cli.main import app
from schemas.errors import FluxionsError

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = {"README.md": README, "CONTRIBUTING.md": CONTRIBUTING, **{f"docs/{name}": text for name, text in DOCS.items()}}
MOST_README_WORDS = 1200
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_the_first_request_is_the_contracts_with_another_host() -> None:
    contract = (
        'curl -X POST "https://api.fluxions.ai/akro/submit" \\\n-H "Authorization: YOUR_API_KEY" \\\n'
        '-H "Content-Type: audio/mpeg" \\\n--data-binary @audio.mp3\n'
    )
    assert contract.replace("https://api.fluxions.ai", "http://127.0.0.1:8000") in README


def test_every_command_is_in_the_table_and_every_row_is_a_command() -> None:
    assert set(re.findall(r"^\| `fluxions (\w+)` \|", DOCS["cli.md"], re.MULTILINE)) == set(COMMANDS)


def commands_shown() -> list[str]:
    found = (re.findall(r"^\.venv/bin/fluxions (.+?)(?:\s+#.*)?$", text, re.MULTILINE) for text in PAGES.values())
    return sorted({line for lines in found for line in lines})


@pytest.mark.parametrize("line", commands_shown())
def test_command_lines_shown_parse(line: str) -> None:
    name, *rest = shlex.split(line)
    command = COMMANDS[name]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(name, rest)


def test_exit_codes_are_those_of_the_code() -> None:
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", DOCS["errors.md"].partition("Exit codes")[2], re.MULTILINE)}
    names = ("OK", "FAILED", "UNREACHABLE", "UNAUTHORISED", "INTERRUPTED")
    assert shown == {getattr(output, name) for name in names} | {click.UsageError.exit_code}


def test_every_status_of_an_error_is_explained() -> None:
    def tree(cls: type[FluxionsError]) -> set[int]:
        return {cls.status}.union(*(tree(sub) for sub in cls.__subclasses__()))

    table = DOCS["errors.md"].partition("## Statuses")[2].partition("##")[0]
    assert tree(FluxionsError) <= {int(status) for status in re.findall(r"^\| (\d{3}) \|", table, re.MULTILINE)}


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= MOST_README_WORDS


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make (\w+)", README + CONTRIBUTING)) - {"both"}))
def test_make_targets_named_exist(target: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", PAGES)
def test_files_and_folders_named_exist(name: str) -> None:
    rooms = r"(?:schemas|runtime|audio|clients|lakehouse|serve|flows|benchmarks|cli|tests|scripts)"
    paths = {ROOT / path for path in re.findall(rf"`({rooms}/[\w/.]*)`", PAGES[name])}
    links = {(ROOT / name).parent / path for path in re.findall(r"\]\(([\w./-]+?)(?:#[\w-]+)?\)", PAGES[name])}
    assert [str(path.relative_to(ROOT)) for path in sorted(paths | links) if not path.exists()] == []


@pytest.mark.parametrize("name", [*PAGES, "Makefile", ".ci/run", "constraints.txt", "SECURITY.md", "CHANGELOG.md"])
def test_no_page_names_a_machine_or_a_private_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"(?<!\w)/(?:home|root|work|Users|opt)/\S*|@ file:|--(?:extra-)?index-url", text) == []
