"""The project's own source as tests of its layout see it: modules, imports, classes and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).resolve().parents[2]
Definition: TypeAlias = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def paths(room: str) -> list[Path]:
    """Every Python file below the folder ``room`` of the project."""
    return sorted((ROOT / room).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, read once."""
    return ast.parse(path.read_text())


def module_name(path: Path) -> str:
    """The dotted name of a file; a package has that of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names a module imports, at its top, in functions and under TYPE_CHECKING; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(files: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """For each module of ``files`` the others of them that it imports."""
    graph: dict[str, set[str]] = {}
    for name, tree in files.items():
        targets = (full if full in files else full.rpartition(".")[0] for full in imported(tree))
        graph[name] = {target for target in targets if target in files and target != name}
    return graph


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which imports all others of its group, if by way of others; sorted."""
    reached = {name: _reachable(graph, name) for name in graph}
    groups = {frozenset(other for other in reached[name] if name in reached[other]) for name in graph}
    return sorted(sorted(group) for group in groups if group)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return seen


def classes(tree: ast.Module) -> Iterator[str]:
    """Names of the classes a module defines, nested ones too."""
    return (node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def public(name: str, tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Every public name of a module, itself included, and whether it has a docstring; local functions have no name here."""
    yield name, ast.get_docstring(tree) is not None
    yield from _public_in(name, tree)


def _public_in(name: str, holder: ast.Module | ast.ClassDef) -> Iterator[tuple[str, bool]]:
    for node in holder.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            full = f"{name}.{node.name}"
            yield full, ast.get_docstring(node) is not None
            if isinstance(node, ast.ClassDef):
                yield from _public_in(full, node)
