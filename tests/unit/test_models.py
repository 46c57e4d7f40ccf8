"""A model is known by its files, and one that cannot load says which slot, which model, why, and what to do."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.engines import EngineChoice
from schemas.errors import InvalidParameter, Unavailable
from schemas.settings import EngineSettings, ScalingSettings, ServerSettings, Settings
from serve.engines import file_digests
from serve.engines.model_download import fetch_missing, pull
from serve.engines.model_files import cannot_load, engine_revision, explain_load_error, is_out_of_memory, resolve
from serve.engines.placement import archive_places, max_ongoing, options
from serve.engines.registry import choice
from serve.engines.replica_loader import Loaded
from serve.engines.status import preflight_problems

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's client, and no hub."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def settings(home: Path, **engines: object) -> Settings:
    return Settings(server=ServerSettings(home=home), engines=EngineSettings(**engines))  # type: ignore[arg-type]


def chosen(home: Path, model: object) -> EngineChoice:
    return choice(settings(home, asr_engine="nemo", asr_model=str(model)), "recognizer")


def folder(path: Path, **files: str) -> Path:
    for name, text in {"config.json": "{}", **files}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def nemo_file(path: Path, text: str = "weights") -> Path:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo("model_weights.ckpt")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def test_a_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    one = resolve(chosen(tmp_path, folder(tmp_path / "one", weights="abc")))
    same = resolve(chosen(tmp_path, folder(tmp_path / "same", weights="abc")))
    other = resolve(chosen(tmp_path, folder(tmp_path / "other", weights="abd")))
    renamed = resolve(chosen(tmp_path, folder(tmp_path / "renamed", weight="abc")))
    hidden = resolve(chosen(tmp_path, folder(tmp_path / "hidden", weights="abc", **{".cache/etag": "1"})))
    assert one.digest == same.digest == hidden.digest
    assert len({one.digest, other.digest, renamed.digest}) == 3


def test_a_changed_file_changes_the_digest_and_an_unchanged_one_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    sha256 = file_digests.file_sha256
    monkeypatch.setattr(file_digests, "file_sha256", lambda path: read.append(path.name) or sha256(path))
    path = folder(tmp_path / "model", weights="abc")
    first = resolve(chosen(tmp_path, path)).digest
    assert resolve(chosen(tmp_path, path)).digest == first
    assert sorted(read) == ["config.json", "weights"]
    (path / "weights").write_text("abcd")
    assert resolve(chosen(tmp_path, path)).digest != first
    assert read[2:] == ["weights"]
    (tmp_path / "cache" / "digests.json").write_text("not json")
    assert resolve(chosen(tmp_path, path)).digest != first


def test_a_nemo_file_is_found_alone_or_in_its_folder(tmp_path: Path) -> None:
    file = nemo_file(tmp_path / "model.nemo")
    assert resolve(chosen(tmp_path, file)).nemo_file == file
    within = folder(tmp_path / "folder")
    (within / "config.json").unlink()
    nemo_file(within / "a.nemo")
    assert resolve(chosen(tmp_path, within)).nemo_file == within / "a.nemo"
    nemo_file(within / "b.nemo")
    assert resolve(chosen(tmp_path, within)).nemo_file is None


def test_a_hub_name_is_found_in_the_hub_clients_cache(tmp_path: Path, hub: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = folder(hub / "models--owner--tiny" / "snapshots" / commit, weights="abc")
    (hub / "models--owner--tiny" / "refs").mkdir()
    (hub / "models--owner--tiny" / "refs" / "main").write_text(commit)
    assert resolve(chosen(tmp_path, "owner/tiny")).path == snapshot
    assert resolve(chosen(tmp_path, f"owner/tiny@{commit}")).path == snapshot


@pytest.mark.parametrize(
    ("model", "why", "remedy"),
    [
        ("/nowhere/model.nemo", "no such file", "correct FLUXIONS_ASR_MODEL"),
        ("nonsense", "no hub name", "correct FLUXIONS_ASR_MODEL"),
        ("owner/absent", "not on this machine", "fluxions models pull owner/absent"),
        ("{tmp}/empty", "neither a config.json nor a .nemo, .onnx or .gguf file", "folder of one model"),
        ("{tmp}/words.txt", "must be a .nemo file", "name such a file"),
        ("{tmp}/torn.nemo", "no tar archive", "download it again"),
    ],
)
def test_what_cannot_load_says_slot_model_reason_and_remedy(tmp_path: Path, model: str, why: str, remedy: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("words.txt", "torn.nemo"):
        (tmp_path / name).write_text("words")
    model = model.format(tmp=tmp_path)
    with pytest.raises(Unavailable, match=why) as refused:
        resolve(chosen(tmp_path, model))
    assert refused.value.code == "model_unavailable"
    assert refused.value.param == "FLUXIONS_ASR_MODEL"
    assert refused.value.message.startswith(f"recognizer: the engine nemo cannot load {model} (FLUXIONS_ASR_MODEL)")
    assert remedy in refused.value.message


def test_the_revision_names_engine_model_and_options(tmp_path: Path) -> None:
    one = resolve(chosen(tmp_path, folder(tmp_path / "tiny model", weights="abc")))
    revision = engine_revision("nemo", "3.0", one, {"beam": 1})
    assert revision.startswith("nemo-3.0-tiny-model-")
    assert engine_revision("nemo", "3.0", one, {"beam": 1}) == revision
    assert engine_revision("nemo", "3.0", one, {"beam": 2}) != revision
    assert engine_revision("nemo", "3.0", replace(one, digest="0" * 64), {"beam": 1}) != revision
    hub = replace(one, name="owner/tiny@main", path=Path("/cache/x"))
    assert engine_revision("nemo", "3.0", hub, {}).startswith("nemo-3.0-owner-tiny-")


def test_reasons_of_whatever_a_library_raises() -> None:
    assert "make run" in explain_load_error(ModuleNotFoundError("no nemo", name="nemo"))[1]
    assert "nemo" in explain_load_error(ModuleNotFoundError("no nemo", name="nemo"))[0]
    assert explain_load_error(MemoryError())[0] == "out of memory"
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 1 GiB"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert explain_load_error(ValueError("a\n  b"))[0] == "ValueError: a b"


def test_pulling_says_why_it_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidParameter, match="owner/name"):
        pull("whisper")
    with pytest.raises(Unavailable, match="hub cannot be reached"):
        pull("owner/absent")
    said: list[str] = []
    fetch_missing(settings(tmp_path, asr_engine="nemo", asr_model="owner/absent"), said.append)
    assert said[0] == "recognizer: fetching owner/absent …"
    assert said[1].startswith("recognizer: owner/absent cannot be fetched: the hub cannot be reached")
    said.clear()
    fetch_missing(settings(tmp_path, asr_engine="nemo", asr_model=str(tmp_path)), said.append)
    assert said == []


def test_preflight_problems_are_those_of_every_slot_that_cannot_serve(tmp_path: Path) -> None:
    assert preflight_problems(settings(tmp_path)) == []
    both = preflight_problems(
        settings(tmp_path, asr_engine="nemo", asr_model="/nope", tts_engine="csm", tts_model="owner/absent")
    )
    assert [line.split(":")[0] for line in both] == ["recognizer", "synthesizer"]


def test_a_replica_raises_the_reason_each_time(tmp_path: Path) -> None:
    def build(_: Settings) -> str:
        raise RuntimeError("CUDA out of memory")

    loaded = Loaded(settings(tmp_path, asr_engine="nemo", asr_model="/m"), "recognizer", build, len)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"recognizer: the engine nemo cannot load /m .*out of memory; choose"):
            loaded.engine  # noqa: B018

    def reject(chosen_settings: Settings) -> str:
        raise cannot_load(choice(chosen_settings, "recognizer"), "it is a diariser", "name a recogniser")

    wrong = Loaded(settings(tmp_path, asr_engine="nemo", asr_model="/m"), "recognizer", reject, len)
    with pytest.raises(Unavailable, match="it is a diariser; name a recogniser"):
        wrong.engine  # noqa: B018


def test_placement_follows_the_settings(tmp_path: Path) -> None:
    plain = options(settings(tmp_path), "recognizer", 1.0)
    assert plain["num_replicas"] == 1, "one uses all cores"
    assert plain["ray_actor_options"]["num_gpus"] == 0.25
    on_gpu = settings(tmp_path, profile="gpu", asr_gpus=0.5, recognizer_replicas_max=3, asr_max_batch=8)
    found = options(on_gpu, "recognizer", 1.0)
    assert found["ray_actor_options"]["num_gpus"] == 0.5
    scaling = found["autoscaling_config"]
    assert (scaling["min_replicas"], scaling["initial_replicas"], scaling["max_replicas"]) == (1, 1, 3)
    assert scaling["policy"]["policy_kwargs"] == {"fewest": 1, "queue_secs": 2.0, "busy": 16, "idle_secs": 0.0}
    assert options(on_gpu, "recognizer", 0.0)["ray_actor_options"]["num_gpus"] == 0
    assert options(settings(tmp_path, profile="gpu", device="cpu"), "recognizer", 1.0)["ray_actor_options"]["num_gpus"] == 0
    assert options(on_gpu, "diarizer", 1.0)["num_replicas"] == 1


def test_only_engines_that_are_named_may_have_no_replica(tmp_path: Path) -> None:
    scaling = ScalingSettings(engine_idle_secs=600, engine_idle_slots="diarizer, language_model")
    chosen = settings(tmp_path, diarizer_replicas=2).model_copy(update={"scaling": scaling})
    assert options(chosen, "recognizer", 0.0)["num_replicas"] == 1
    found = options(chosen, "diarizer", 0.0)["autoscaling_config"]
    assert (found["min_replicas"], found["initial_replicas"], found["max_replicas"]) == (0, 2, 2)
    assert found["policy"]["policy_kwargs"]["idle_secs"] == 600
    with pytest.raises(ValidationError, match="no slot is called diariser"):
        ScalingSettings(engine_idle_slots="diariser")


def test_archives_never_fill_the_replicas(tmp_path: Path) -> None:
    for gateways in (1, 2, 3):
        one = settings(tmp_path, gateway_replicas=gateways, recognizer_replicas=2)
        assert gateways * archive_places(one, "recognizer") <= 2 * max_ongoing(one, "recognizer") // 2
