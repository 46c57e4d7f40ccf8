"""Rules of the whole suite.

Each module has one category. Ctrl-C reaches every process a test starts. With ``-n 2`` two processes share the tests: a
module's tests stay together, and so do those of the running platform and those of the studio, each of which start theirs
once.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.support import output_detector

# As the supervisor sets it for its children, before NumPy is imported: see `serve.supervisor.environment`.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

CATEGORIES = ("unit", "contract", "integration", "e2e", "chaos", "security", "clients")
_TOGETHER = ("tests/e2e/", "tests/studio/", "tests/security/")
"""Folders whose modules share a fixture that takes long to make, or resources of the machine, or hold a test that takes
minutes: the folder with most tests begins first."""


class Scheduling(LoadScopeScheduling):
    """Gives each module, or folder of `_TOGETHER`, to one process.

    pytest-xdist's own ``loadgroup`` does not work with pytest 9: it writes to an attribute that is gone.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in _TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def pytest_configure(config: pytest.Config) -> None:
    """Undo an ignored SIGINT, which a suite started by a script in the background inherits and would hand on.

    Secrets in what the tests print fail the session.
    """
    output_detector.register(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    """How two processes share the tests."""
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Raises UsageError for a module that has no category marker, or several."""
    for module in {id(module): module for item in items if (module := item.getparent(pytest.Module))}.values():
        found = [mark.name for mark in module.own_markers if mark.name in CATEGORIES]
        if len(found) != 1:
            raise pytest.UsageError(
                f"{module.path} has {len(found)} category markers {found}; write `pytestmark = pytest.mark.NAME` below its "
                f"imports, with one of {', '.join(CATEGORIES)}"
            )
