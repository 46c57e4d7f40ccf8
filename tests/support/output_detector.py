"""Looks for keys, tokens and signatures in what tests print and log: a plugin of pytest, which `tests.conftest` registers.

What a test's report has captured is what the programs under test wrote to their standard output, standard error and log
in its process and its children. With pytest-xdist the reports of all processes arrive in the one that shares the tests out.
A test that has the purpose of printing a key reads its own output (`capsys`, pipes), so that none of it is captured.
"""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.log_detector import Secrets, found_in

_NOTHING_KNOWN: Final = Secrets(frozenset(), ())
"""Of tests in general no texts and file names are known; keys, tokens and signatures have a form."""
EXIT_STATUS: Final = 10
"""Of a session in which a secret was printed. Not that of failed tests, which `make check` runs again."""


class OutputDetector:
    """Fails a session in which a secret was printed, and names the tests."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look through the report of a test's set-up, call or tear-down."""
        for name, content in report.sections:
            if name.startswith("Captured "):
                for what in found_in(content, _NOTHING_KNOWN):
                    self.found.setdefault(report.nodeid, set()).add(f"{what} in its {name.removeprefix('Captured ')}")

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Name the tests, without repeating what was found."""
        if self.found:
            terminalreporter.section("secrets in output", red=True)
            for test, what in sorted(self.found.items()):
                terminalreporter.write_line(f"{test}: {', '.join(sorted(what))}")

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The session fails, also one whose tests all passed."""
        if self.found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = EXIT_STATUS


def register(config: pytest.Config) -> None:
    """Look through all reports of a session, in the process that has them all."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutputDetector(), "output-detector")
