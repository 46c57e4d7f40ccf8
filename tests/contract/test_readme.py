"""What the README and CONTRIBUTING tell a reader to do exists."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

from schemas.errors import FluxionsError
from serve.cli import output
from serve.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def test_the_first_request_is_the_contracts_with_another_host() -> None:
    contract = (
        'curl -X POST "https://api.fluxions.ai/akro/submit" \\\n-H "Authorization: YOUR_API_KEY" \\\n'
        '-H "Content-Type: audio/mpeg" \\\n--data-binary @audio.mp3\n'
    )
    assert contract.replace("https://api.fluxions.ai", "http://127.0.0.1:8000") in README


def test_every_command_is_in_the_table_and_every_row_is_a_command() -> None:
    assert set(re.findall(r"^\| `fluxions (\w+)` \|", README, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^\.venv/bin/fluxions (.+?)(?:\s+#.*)?$", README, re.MULTILINE))))
def test_command_lines_shown_parse(line: str) -> None:
    name, *rest = shlex.split(line)
    command = COMMANDS[name]
    if hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(name, rest)


def test_exit_codes_are_those_of_the_code() -> None:
    shown = {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)}
    names = ("OK", "FAILED", "USAGE", "UNREACHABLE", "UNAUTHORISED", "INTERRUPTED")
    assert shown == {getattr(output, name) for name in names}


def test_every_status_of_an_error_is_explained() -> None:
    def tree(cls: type[FluxionsError]) -> set[int]:
        return {cls.status}.union(*(tree(sub) for sub in cls.__subclasses__()))

    paragraph = README.partition("Statuses:")[2].partition("\n\n")[0]
    assert tree(FluxionsError) <= {int(status) for status in re.findall(r"\b(\d{3})\b", paragraph)}


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make (\w+)", README + CONTRIBUTING)) - {"both"}))
def test_make_targets_named_exist(target: str) -> None:
    result = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_files_and_folders_named_exist(text: str) -> None:
    rooms = r"(?:schemas|audio|lakehouse|serve|flows|tests|scripts)"
    named = set(re.findall(rf"`({rooms}/[\w/.]*)`", text)) | set(re.findall(r"\]\(([\w./]+)\)", text))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "constraints.txt"])
def test_no_page_names_a_machine_or_a_private_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert re.findall(r"/(?:home|root|work|Users|opt)/\S*|@ file:|--(?:extra-)?index-url", text) == []
