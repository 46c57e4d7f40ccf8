"""Files for operators: they name settings, modules, paths and ports that exist, and ask for no more rights than needed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from clients.connection import worker_key_file
from schemas.settings import documented
from scripts.render_chart import CHART, PLAIN, PLAIN_VALUES, plain, rendered
from tests.support.processes import ROOT, RUN_SECS
from tests.unit.test_rooms import MAY_IMPORT

pytestmark = pytest.mark.unit

DEPLOY = ROOT / "deploy"
KUBERNETES = "1.33"
BESIDE_SETTINGS = {"FLUXIONS_URL"}
"""Read by workers; no setting of an instance."""
has_helm = pytest.mark.skipif(
    importlib.util.find_spec("helm_python") is None, reason="Helm is in the extra `deploy`: pip install -e '.[deploy]'"
)
EVERYTHING: dict[str, Any] = {
    **PLAIN_VALUES,
    "imagePullSecrets": [{"name": "registry"}],
    "worker": {"autoscaling": {"enabled": True}, "nodeSelector": {"pool": "cpu"}},
    "storage": {"url": "s3://bucket/prefix", "credentialsSecret": "aws"},
    "platform": {
        "protectFromEviction": True,
        "settings": {"FLUXIONS_GATEWAY_REPLICAS": 2},
        "models": {"existingClaim": "models"},
        "home": {"storageClass": "fast"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    },
    "prefect": {"databaseSecret": "postgres"},
}


def manifests(text: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one]


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in found:
        if one["kind"] in ("StatefulSet", "Deployment"):
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


def files() -> list[Path]:
    return [path for path in sorted(DEPLOY.rglob("*")) if path.is_file() and path.suffix != ".json"]


def check_schemas(found: list[dict[str, Any]]) -> None:
    import kubernetes_validate

    for one in found:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_every_setting_that_a_file_names_exists(path: Path) -> None:
    known = {name for _, name, _, _ in documented()} | BESIDE_SETTINGS
    named = set(re.findall(r"\bFLUXIONS_[A-Z0-9_]*[A-Z0-9]\b", path.read_text()))
    assert named - known == set()


@pytest.mark.skipif(importlib.util.find_spec("kubernetes_validate") is None, reason="kubernetes-validate is not installed")
def test_the_plain_manifests_keep_the_schemas_of_kubernetes() -> None:
    found = manifests(PLAIN.read_text())
    assert {"StatefulSet", "Deployment", "NetworkPolicy", "PodDisruptionBudget"} <= {one["kind"] for one in found}
    check_schemas(found)


def test_pods_run_without_rights_and_are_watched() -> None:
    for name, pod in pods(manifests(PLAIN.read_text())):
        assert pod["securityContext"]["runAsNonRoot"], name
        assert pod["automountServiceAccountToken"] is False, name
        for container in [*pod.get("initContainers", ()), *pod["containers"]]:
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], name
            assert not rights["allowPrivilegeEscalation"], name
            assert rights["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {one["name"] for one in pod["volumes"]} | {"home"}, name
    platform = dict(pods(manifests(PLAIN.read_text())))["fluxions-platform"]["containers"][0]
    assert platform["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert platform["livenessProbe"]["httpGet"]["path"] == platform["startupProbe"]["httpGet"]["path"] == "/health"


def test_services_and_policies_select_the_pods_that_exist() -> None:
    found = manifests(PLAIN.read_text())
    labels = [
        one["spec"]["template"]["metadata"]["labels"] for one in found if one["kind"] in ("StatefulSet", "Deployment")
    ]
    selectors = [one["spec"]["selector"] for one in found if one["kind"] == "Service"]
    selectors += [one["spec"]["podSelector"]["matchLabels"] for one in found if one["kind"] == "NetworkPolicy"]
    selectors += [one["spec"]["selector"]["matchLabels"] for one in found if one["kind"] == "PodDisruptionBudget"]
    assert len(selectors) >= 7
    for selector in selectors:
        assert any(selector.items() <= label.items() for label in labels), selector


def test_a_worker_finds_its_key_and_the_gateway() -> None:
    found = manifests(PLAIN.read_text())
    pod = dict(pods(found))["fluxions-worker"]
    worker = pod["containers"][0]
    env = {one["name"]: one.get("value") for one in worker["env"]}
    service = next(one for one in found if one["kind"] == "Service" and one["metadata"]["name"] == "fluxions")
    assert env["FLUXIONS_URL"] == f"http://fluxions:{service['spec']['ports'][0]['port']}"
    assert "/var/lib/fluxions/home/keys" in {mount["mountPath"] for mount in worker["volumeMounts"]}
    (key,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert [item["path"] for item in key["items"]] == ["node"], "a worker gets no key but that of workers"
    assert worker_key_file(Path("/home")).name == "node"
    assert "FLUXIONS_HOME=/var/lib/fluxions/home" in (DEPLOY / "Containerfile").read_text()
    assert importlib.util.find_spec(worker["command"][2]) is not None


@has_helm
def test_the_plain_manifests_are_the_chart() -> None:
    assert PLAIN.read_text() == plain(), "run: python -m scripts.render_chart deploy/kubernetes/fluxions.yaml"


@has_helm
def test_the_chart_renders_with_everything_and_refuses_to_have_no_keys() -> None:
    import helm_python

    assert helm_python.lint(CHART, PLAIN_VALUES, strict=True)["errors"] == []
    found = [one for text in rendered(EVERYTHING, "speech").values() for one in manifests(text)]
    check_schemas(found)
    assert "HorizontalPodAutoscaler" in {one["kind"] for one in found}
    assert "replicas" not in next(one for one in found if one["metadata"]["name"] == "fluxions-worker")["spec"]
    with pytest.raises(helm_python.HelmRenderError, match=r"keys\.operator"):
        rendered({})


def test_compose_overlays_only_loosen_what_they_must() -> None:
    base = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    gpu, watching = (yaml.safe_load((DEPLOY / f"compose.{name}.yaml").read_text()) for name in ("gpu", "observability"))
    for file in (base, gpu, watching):
        for name, service in file["services"].items():
            assert name == "fluxions" or not service.get("ports"), name
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
            assert "privileged" not in service, name
            assert service.get("cap_drop", ["ALL"]) == ["ALL"], name
            for volume in service.get("volumes", ()):
                source = volume["source"] if isinstance(volume, dict) else volume.partition(":")[0]
                assert source in base["volumes"] or (DEPLOY / source).is_file(), source
    fluxions = base["services"]["fluxions"]
    assert fluxions["read_only"]
    assert (DEPLOY / fluxions["build"]["context"] / fluxions["build"]["dockerfile"]).resolve() == DEPLOY / "Containerfile"
    assert set(gpu["services"]["fluxions"]["build"]["args"]) <= set(re.findall(r"(?m)^ARG (\w+)", containerfile()))


def containerfile() -> str:
    return (DEPLOY / "Containerfile").read_text()


def test_the_image_has_every_room_and_every_weight_and_no_root() -> None:
    text = containerfile()
    copied = {source for line in re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", text) for source in line.split()}
    assert set(MAY_IMPORT) <= copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert re.search(r"(?m)^USER 10001:10001$", text)
    weights = re.search(r"WEIGHTS := (.*?)\n\n", (ROOT / "Makefile").read_text(), re.DOTALL)
    assert weights is not None
    assert set(weights[1].replace("\\", " ").split()) <= set(text.split())


@pytest.mark.parametrize("unit", ["fluxions.service", "fluxions-worker@.service"])
def test_units_are_valid_and_protected(unit: str, tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / unit).read_text()
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077", "PrivateTmp=yes"):
        assert line in text.splitlines()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # Programs, users and files of the installation are not on this machine; the rest is checked by systemd itself.
    here = re.sub(r"(?m)^ExecStart=.*$", "ExecStart=/bin/true", text)
    here = re.sub(r"(?m)^(User|Group|WorkingDirectory|Documentation)=.*\n", "", here)
    copy = tmp_path / unit.replace("@", "@1")
    copy.write_text(here)
    checked = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False, timeout=RUN_SECS
    )
    assert [line for line in checked.stderr.splitlines() if copy.name in line] == []
