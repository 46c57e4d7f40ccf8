"""What the project's own files say is true: paths and links in documents, dependencies, and that nothing is left over."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.support.source_tree import ROOT, imported, parsed, paths
from tests.unit.test_rooms import MAY_IMPORT

pytestmark = pytest.mark.unit

README_MAX_WORDS = 1200
NOT_IMPORTED = {
    "asyncpg": "SQLAlchemy loads it for Prefect's database",
    "boto3": "see moto",
    "duckdb": "see pandas",
    "faster-whisper": "imported by name where its files are looked up",
    "moto": "tests start its server as a program",
    "mypy": "a command",
    "pandas": "tests run the examples of docs/tables.md",
    "pre-commit": "a command",
    "pytest-asyncio": "a plugin of pytest",
    "pytest-timeout": "a plugin of pytest",
    "python-multipart": "FastAPI loads it to read forms",
    "ruff": "a command",
    "schemathesis": "tests start it as a program",
    "sqlalchemy": "pinned for Prefect",
    "uvicorn": "Ray Serve's server",
}
"""Dependencies that no module imports, and what needs them."""
FOUND_BY_NAME = {
    "handle_error": "socketserver calls it",
    "check_health": "Ray Serve calls it",
    "dask_setup": "Dask calls it in a preloaded module",
    "read_format": "tests of upgrades read the number of a home",
}
"""Names that nothing here mentions but their definition, and who uses them."""


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def test_each_path_in_the_architecture_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(rf"`((?:{'|'.join(MAY_IMPORT)}|tests|docs|scripts)/[\w./-]*)`", text)
    assert len(named) > 50
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_each_file_and_test_of_the_protections_exists() -> None:
    text = (ROOT / "docs" / "protections.md").read_text()
    rows = re.findall(r"^\| .+ \| `([\w./]+)` \| `(tests/[\w/]+\.py)::(test_\w+)` \|$", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| (?!protection)", text, re.MULTILINE)) > 70
    assert [path for path, _, _ in rows if not (ROOT / path).exists()] == []
    found = {
        page: set(re.findall(r"^(?:async )?def (test_\w+)", (ROOT / page).read_text(), re.MULTILINE)) for _, page, _ in rows
    }
    assert [(page, test) for _, page, test in rows if test not in found[page]] == []


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.name)
def test_each_link_of_a_document_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", without_code(page.read_text()))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_MAX_WORDS


def test_each_page_is_linked_from_another() -> None:
    linked = {Path(link).name for page in documents() for link in re.findall(r"\]\(([\w/-]+\.md)", page.read_text())}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - linked == set()


def test_each_dependency_is_imported_or_has_a_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {plain(re.split(r"[\[<>=!~ ;]", line)[0]) for lines in lists for line in lines}
    rooms = [*MAY_IMPORT, "tests", "scripts"]
    modules = {name.partition(".")[0] for room in rooms for path in paths(room) for name in imported(parsed(path))}
    # Modules that are loaded by a string, as engines that may be absent are.
    text = "\n".join(path.read_text() for room in MAY_IMPORT for path in paths(room))
    loaded = {
        module for module in importlib.metadata.packages_distributions() if f'"{module}"' in text or f'"{module}.' in text
    }
    used = {
        plain(name)
        for module, names in importlib.metadata.packages_distributions().items()
        if module in modules | loaded
        for name in names
    }
    installed = {plain(one.metadata["Name"]) for one in importlib.metadata.distributions()}
    assert (declared & installed) - used - set(NOT_IMPORTED) == set()


def test_each_definition_has_a_use() -> None:
    text = "\n".join(path.read_text() for room in [*MAY_IMPORT, "tests/support"] for path in paths(room))
    words = Counter(re.findall(r"\w+", text + (ROOT / "pyproject.toml").read_text() + (ROOT / "prefect.yaml").read_text()))
    unused = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for room in MAY_IMPORT
        for path in paths(room)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.decorator_list
        and not node.name.startswith("__")
        and words[node.name] < 2
        and node.name not in FOUND_BY_NAME
    ]
    assert unused == []


@pytest.mark.parametrize("room", [*MAY_IMPORT, "tests", "scripts"])
def test_no_package_is_empty(room: str) -> None:
    folders = {path.parent for path in paths(room)}
    assert [
        str(folder.relative_to(ROOT))
        for folder in folders
        if not any(other.name != "__init__.py" for other in folder.rglob("*.py"))
    ] == []


def test_the_architecture_states_the_imports_that_are_enforced() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    stated = {}
    for room, _, imports in re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|$", text, re.MULTILINE):
        names = set(re.findall(r"`(\w+)`", imports))
        if imports.strip() == "all":
            names = set(MAY_IMPORT) - {room}
        if imports.startswith("all but"):
            names = set(MAY_IMPORT) - {room} - names
        stated[room] = names
    assert {room: names for room, names in stated.items() if room in MAY_IMPORT} == MAY_IMPORT


@pytest.mark.parametrize(
    "name",
    ["LICENSE", "NOTICE", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md"]
    + [f"docs/{page}.md" for page in ("architecture", "glossary", "settings", "engines", "benchmarks")],
)
def test_a_document_that_readers_expect_is_there(name: str) -> None:
    assert (ROOT / name).stat().st_size > 200
