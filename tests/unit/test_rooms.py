"""The layout of the source: imports between rooms go one way and in no circle, modules are short, names are plain."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import PurePosixPath

import pytest

from tests.conftest import CATEGORIES
from tests.support.source_tree import (
    ROOT,
    circles,
    classes,
    import_graph,
    imported,
    module_name,
    parsed,
    paths,
    public,
)

pytestmark = pytest.mark.unit

MAY_IMPORT: dict[str, set[str]] = {
    "schemas": set(),
    "runtime": set(),
    "telemetry": set(),
    "audio": {"schemas", "runtime"},
    "formats": {"schemas"},
    "clients": {"schemas", "telemetry"},
    "fluxions": {"schemas", "clients"},
    "lakehouse": {"schemas", "telemetry"},
    "studio": set(),
    "serve": {"schemas", "runtime", "telemetry", "audio", "formats", "lakehouse", "studio"},
    "flows": {"schemas", "runtime", "telemetry", "audio", "clients"},
}
MAY_IMPORT["benchmarks"] = set(MAY_IMPORT)
MAY_IMPORT["cli"] = set(MAY_IMPORT)
MAX_LINES = 350

SIDES = {"schemas", "schemas/api", "clients", "serve/gateway/routes", "serve/services", "cli"}
"""Folders whose modules each show one thing of the platform from one side: its values, bodies, HTTP routes, commands."""
SAME_THING = {
    "__init__": "every package has one",
    "deployment": "the Ray deployment of one engine slot, in that slot's folder",
    "archives": "runs over many recordings: their rows, their ledger, their flow",
    "history": "the reader of history, in the package of its parts",
    "maintenance": "table maintenance: its tasks, their lock in the ledger, their schedule",
    "protocol": "the messages of one child program and its parent, in the package of both",
    "progress": "how far a job is: as workers report it, as the ledger holds it",
    "realtime": "conversations over a socket: their events in `schemas.api`, their sessions in `serve`",
    "voices": "voices to speak with: built-in ones, and those of accounts in the ledger",
}
MIN_DOCUMENTED = {
    "schemas": 1.0,
    "runtime": 0.95,
    "telemetry": 0.95,
    "clients": 0.95,
    "audio": 0.95,
    "formats": 0.95,
    "flows": 0.95,
    "cli": 0.95,
}
MIN_DOCUMENTED_OVERALL = 0.9


def trees() -> dict[str, ast.Module]:
    return {module_name(path): parsed(path) for room in MAY_IMPORT for path in paths(room)}


def rooms_of(tree: ast.Module) -> set[str]:
    return {name.partition(".")[0] for name in imported(tree)} & set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    assert paths(room), f"{room}/ holds no module"
    strays = {module_name(path): sorted(strange) for path in paths(room) if (strange := rooms_of(parsed(path)) - allowed)}
    assert strays == {}


def test_imports_inside_functions_are_seen() -> None:
    tree = ast.parse("def f():\n    import serve.supervisor.supervisor\n    from flows.worker import run\nimport numpy")
    assert rooms_of(tree) == {"serve", "flows"}


def test_rooms_import_no_tests_and_nothing_relative() -> None:
    for name, tree in trees().items():
        assert not any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree)), name
        assert not any(target.partition(".")[0] == "tests" for target in imported(tree)), name


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(import_graph(trees())) == []


def test_circles_are_found_through_functions_type_checking_and_third_modules() -> None:
    files = {
        "a.one": ast.parse("def f():\n    from a.two import thing"),
        "a.two": ast.parse("if TYPE_CHECKING:\n    from a import three"),
        "a.three": ast.parse("import a.one"),
        "a.four": ast.parse("import a.one"),
    }
    assert circles(import_graph(files)) == [["a.one", "a.three", "a.two"]]


@pytest.mark.parametrize("room", [*MAY_IMPORT, "tests", "scripts"])
def test_no_module_is_too_long(room: str) -> None:
    lengths = {module_name(path): len(path.read_text().splitlines()) for path in paths(room)}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_each_test_module_has_one_category() -> None:
    wrong = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        marks = [
            node.attr
            for statement in parsed(path).body
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "pytestmark"
            for node in ast.walk(statement.value)
            if isinstance(node, ast.Attribute) and node.attr in CATEGORIES
        ]
        if len(marks) != 1:
            wrong[str(path.relative_to(ROOT))] = marks
    assert wrong == {}


def test_no_module_name_is_used_twice() -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for room in MAY_IMPORT:
        for path in paths(room):
            folder = PurePosixPath(path.relative_to(ROOT).parent)
            if str(folder) in SIDES or room == "benchmarks" or path.stem == folder.name:
                continue
            found[folder.name if path.stem == "__init__" else path.stem].append(module_name(path))
    assert {name: modules for name, modules in found.items() if len(modules) > 1 and name not in SAME_THING} == {}


def test_a_class_name_is_used_at_most_twice() -> None:
    used = Counter(name for tree in trees().values() for name in classes(tree))
    assert {name: count for name, count in used.items() if count > 2} == {}


@pytest.mark.parametrize("room", MIN_DOCUMENTED)
def test_public_names_of_a_room_have_docstrings(room: str) -> None:
    names = [pair for path in paths(room) for pair in public(module_name(path), parsed(path))]
    missing = [name for name, documented in names if not documented]
    assert 1 - len(missing) / len(names) >= MIN_DOCUMENTED[room], missing


def test_public_names_have_docstrings() -> None:
    documented = [has_one for name, tree in trees().items() for _, has_one in public(name, tree)]
    assert sum(documented) / len(documented) >= MIN_DOCUMENTED_OVERALL
