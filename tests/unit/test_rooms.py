"""Imports between rooms go one way, and no module grows beyond what a reader can hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT: dict[str, set[str]] = {
    "schemas": set(),
    "audio": {"schemas"},
    "lakehouse": {"schemas"},
    "serve": {"schemas", "audio", "lakehouse"},
    "flows": {"schemas", "audio", "lakehouse"},
}
MAX_LINES = 500


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported_rooms(source: str) -> set[str]:
    """Our rooms a module's text imports, at its top or inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found & set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    assert modules(room), f"{room}/ holds no module"
    strays = {
        str(path.relative_to(ROOT)): sorted(strange)
        for path in modules(room)
        if (strange := imported_rooms(path.read_text()) - allowed)
    }
    assert strays == {}


def test_imports_inside_functions_are_seen() -> None:
    assert imported_rooms("def f():\n    import serve.up\n    from flows.worker import run\nimport numpy") == {
        "serve",
        "flows",
    }


def test_rooms_import_no_tests_and_nothing_relative() -> None:
    for path in (p for room in MAY_IMPORT for p in modules(room)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path.relative_to(ROOT)} imports relatively"
                assert (node.module or "").partition(".")[0] != "tests", path


@pytest.mark.parametrize("room", [*MAY_IMPORT, "tests"])
def test_no_module_is_too_long(room: str) -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in modules(room)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}
