"""Rules of the suite itself: categories, Ctrl-C, and no wait without a deadline."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runtime.children import module_env
from tests.support.processes import RUN_SECS, started
from tests.support.source_tree import ROOT, parsed, paths

pytestmark = pytest.mark.unit

STARTERS = {"Popen", "create_subprocess_exec", "create_subprocess_shell"}
"""What starts a program and leaves its end to the caller; `tests.support.processes` alone may."""


def suite(folder: Path, source: str, *, before: str = "") -> tuple[int, str]:
    """Exit code and output of a suite of one module, under our rules."""
    module = folder / "test_it.py"
    module.write_text(source)
    arguments = ["-p", "tests.conftest", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), str(module)]
    program = f"import sys, pytest\n{before}\nsys.exit(pytest.main({arguments!r}))"
    argv = [sys.executable, "-c", program]
    with started(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        out, _ = process.communicate(timeout=RUN_SECS)
        return process.returncode, out


@pytest.mark.parametrize(
    ("line", "marks"), [("", "0"), ("pytestmark = [pytest.mark.unit, pytest.mark.chaos]", "2"), ("mark = 1", "0")]
)
def test_a_module_without_its_one_category_is_not_collected(tmp_path: Path, line: str, marks: str) -> None:
    code, out = suite(tmp_path, f"import pytest\n{line}\ndef test_nothing(): pass\n")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert f"has {marks} category markers" in out


def test_children_hear_ctrl_c_although_the_suite_was_started_deaf_to_it(tmp_path: Path) -> None:
    source = """
import signal, subprocess, sys, pytest
pytestmark = pytest.mark.unit
def test_it():
    program = "import signal; signal.raise_signal(signal.SIGINT); print('deaf')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (-signal.SIGINT, b"")
"""
    code, out = suite(tmp_path, source, before="import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert code == pytest.ExitCode.OK, out


STARTS = """
import subprocess, sys, time
from tests.support.processes import started
family = "import subprocess, time; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True); time.sleep(600)"
with started([sys.executable, "-c", family], stdout=subprocess.PIPE, start_new_session=True) as one:
    print(one.pid, int(one.stdout.readline()), flush=True)
    time.sleep(600)
"""  # noqa: E501


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_programs_end_with_a_suite_that_is_killed(number: signal.Signals) -> None:
    argv = [sys.executable, "-c", STARTS]
    with started(argv, env=module_env(), stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        family = [psutil.Process(int(pid)) for pid in killed.stdout.readline().split()]
        assert len(family) == 2
        killed.send_signal(number)
        killed.wait(RUN_SECS)
    _, left = psutil.wait_procs(family, RUN_SECS)
    for process in left:
        process.kill()
    assert not left


def calls(tree: ast.AST) -> list[tuple[ast.Call, str, bool]]:
    """Each call with the last part of its name, and whether it is awaited or handed to something that waits for it."""
    inner = {
        id(argument)
        for node in ast.walk(tree)
        for argument in ([node.value] if isinstance(node, ast.Await) else node.args if isinstance(node, ast.Call) else [])
    }
    return [
        (node, node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id, id(node) in inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
    ]


def waits_for_ever(call: ast.Call, name: str, asynchronous: bool) -> bool:
    """Whether a call waits without a deadline. What is awaited ends with the limit of its test."""
    given = {keyword.arg for keyword in call.keywords}
    if name == "run" and ast.unparse(call.func) == "subprocess.run":
        return "timeout" not in given
    if name in ("wait", "join", "communicate", "acquire") and not asynchronous:
        return not call.args and "timeout" not in given and isinstance(call.func, ast.Attribute)
    return False


def test_every_wait_has_a_deadline_and_programs_are_started_in_one_place() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(call)[:60]}"
        for path in paths("tests")
        for call, name, asynchronous in calls(parsed(path))
        if waits_for_ever(call, name, asynchronous)
        or (name in STARTERS and path != ROOT / "tests" / "support" / "processes.py")
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "line", ["process.wait()", "thread.join()", "p.communicate()", "subprocess.run(argv)", "subprocess.run(a, check=True)"]
)
def test_waits_without_a_deadline_are_found(line: str) -> None:
    assert [waits_for_ever(*call) for call in calls(ast.parse(line))] == [True]
