"""One start of the real stack for all end-to-end tests; its end is checked too."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from schemas.settings import ServerSettings, Settings
from serve.supervisor.instance import MARKER, Instance
from serve.supervisor.marked_processes import marked
from tests.e2e import stack as stacks
from tests.e2e.session_end import open_session
from tests.support.lakehouse_kit import vacuum
from tests.support.log_detector import leaks, secrets_of
from tests.support.remains import remains
from tests.support.trace_receiver import TraceReceiver

UPLOAD_LIMIT_BYTES = 420 * 1024 * 1024
LOG_LINES = 20
LOGS = (".log", ".out", ".err", ".txt")


def keys_of(home: Path) -> dict[str, str]:
    """The keys of a home by name; of a user name and a password the password."""
    return {path.name: path.read_text().strip().rpartition(":")[2] for path in (home / "keys").iterdir()}


@pytest.fixture(scope="package")
def traces() -> Iterator[TraceReceiver]:
    """Receives the spans of requests that ask to be traced."""
    with TraceReceiver() as receiver:
        yield receiver


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory, traces: TraceReceiver) -> Iterator[stacks.Stack]:
    home: Path = tmp_path_factory.mktemp("stack") / "home"
    settings = {
        "FLUXIONS_MAX_UPLOAD_BYTES": str(UPLOAD_LIMIT_BYTES),
        "FLUXIONS_LEASE_SECS": "5",
        "FLUXIONS_MAX_ATTEMPTS": "6",  # no job can use up its attempts by the deaths that the tests cause
        "FLUXIONS_CLAIM_WAIT_SECS": "5",
        "FLUXIONS_TRACES_URL": traces.url,
        "FLUXIONS_TRACES_SHARE": "0",
    }
    with stacks.running(home, **settings) as running:
        instance = Instance.read(home)
        assert instance is not None
        yield running
        secrets = secrets_of(home)
        ray_temp = Path(instance.ray_temp)  # which ends with the instance
        found = leaks([path for path in ray_temp.rglob("*") if path.suffix in LOGS and path.is_file()], secrets)
        unerased = remains([ray_temp], running.erased | keys_of(home))
        family = psutil.Process(running.process.pid).children(recursive=True)
        with open_session(running) as session:
            took = running.stop()
            told = session.told(stacks.STOP_SECS)
        left = [p for p in [*family, *marked(MARKER, instance.marker)] if p.is_running()]
        written = [home / "up.log", *(home / "logs").iterdir()]
        found |= leaks([path for path in written if path.is_file()], secrets)
        vacuum(Settings(server=ServerSettings(home=home)))
        unerased |= remains([home], running.erased)
        unerased |= remains([path for path in home.iterdir() if path.is_dir() and path.name != "keys"], keys_of(home))
    assert not found, f"logs hold what they must not: {found}"
    assert not unerased, f"files hold what they must not: {unerased}"
    assert told == ("server_going_away", 1001), f"an open session was told {told}"
    assert took < stacks.STOP_SECS, f"Ctrl-C took {took:.0f} s"
    assert not left, f"still running after Ctrl-C: {left}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the ends of the instance's logs to the report of a test that failed."""
    report = yield
    running = getattr(item, "funcargs", {}).get("stack")
    if report.failed and isinstance(running, stacks.Stack):
        for path in (running.home / "up.log", *sorted((running.home / "logs").glob("*.log"))):
            lines = path.read_text(errors="replace").splitlines()[-LOG_LINES:]
            report.sections.append((str(path.relative_to(running.home)), "\n".join(lines)))
    return report


@pytest.fixture
def client(stack: stacks.Stack) -> Iterator[httpx.Client]:
    with stack.client() as client:
        yield client
