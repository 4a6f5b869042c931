"""Containers that cannot work: what Podman and Docker say of them, and Quadlet units."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stroke import doctor, doctor_containers, doctor_engines, doctor_machine
from stroke.doctor_containers import Container
from stroke.doctor_finding import KINDS, Finding
from stroke.doctor_machine import Machine
from stroke.errors import Exit
from stroke.role_code import host

from tests.unit.test_doctor import healthy
from tests.unit.trees import write

IMAGE = "docker.io/vllm/vllm-openai-rocm:v0.29.0"
DEVICES = ("/dev/kfd", "/dev/dri/renderD128")
GOOD = Container(
    "podman", "vllm", IMAGE, "running", arguments=("vllm", "serve", "Qwen/Qwen3-8B"),
    environment={"VLLM_ROCM_USE_AITER": "0"}, devices=DEVICES, groups=("105", "44"),
)  # fmt: skip
QUADLET = """\
# Managed by stroke
[Unit]
Description=x

[Container]
Image={image}
AddDevice=/dev/kfd
AddDevice=-/dev/dri/renderD128:/dev/dri/renderD128
GroupAdd=105
Environment=HOME=/cache "VLLM_ROCM_USE_AITER=0"
Exec=model \\
  --port 8000 {more}
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return doctor_machine.read(healthy(tmp_path_factory.mktemp("healthy")))


def found(machine: Machine, *containers: Container) -> list[Finding]:
    return list(doctor_engines.checks(replace(machine, containers=containers)))


def with_environment(**values: str) -> Container:
    return replace(GOOD, environment={**GOOD.environment, **values})


def test_a_container_that_can_work_gets_no_finding(machine: Machine) -> None:
    assert found(machine, GOOD) == []
    assert found(machine, replace(GOOD, groups=("keep-groups",))) == []
    assert found(machine, replace(GOOD, devices=("amd.com/gpu=all",))) == []
    assert found(machine, replace(GOOD, devices=(), privileged=True)) == []


CASES = [
    (replace(GOOD, arguments=(*GOOD.arguments, "--swap-space", "4")), "STK-D61", "--swap-space"),
    (replace(GOOD, arguments=(*GOOD.arguments, "--swap-space=4")), "STK-D61", "--swap-space=4"),
    (with_environment(VLLM_USE_V1="1"), "STK-D62", "VLLM_USE_V1=1"),
    (with_environment(HSA_OVERRIDE_GFX_VERSION="11.0.0"), "STK-D62", "HSA_OVERRIDE_GFX_VERSION"),
    (replace(GOOD, devices=("/dev/dri/renderD128",)), "STK-D63", "/dev/kfd"),
    (replace(GOOD, devices=()), "STK-D63", "devices none"),
    (replace(GOOD, groups=("render", "video")), "STK-D64", "render video"),
    (with_environment(VLLM_ROCM_USE_AITER="1"), "STK-D65", "VLLM_ROCM_USE_AITER=1"),
    (replace(GOOD, state="restarting", exit_code=2, restarts=7), "STK-D67", "exit code 2"),
    (replace(GOOD, state="exited", exit_code=1, restarts=3), "STK-D67", "3 restarts"),
]


@pytest.mark.parametrize(
    ("container", "code", "evidence"), CASES, ids=[f"{c[1]} {c[2]}" for c in CASES]
)
def test_a_setting_that_cannot_work(
    machine: Machine, container: Container, code: str, evidence: str
) -> None:
    (finding,) = found(machine, container)
    assert finding.code == code
    assert evidence in " ".join((finding.what, *finding.evidence))
    assert "vllm" in finding.fix


def test_every_finding_about_containers_is_tried() -> None:
    tried = {code for _, code, _ in CASES} | {"STK-D66"}
    assert {code for code in KINDS if code.startswith("STK-D6")} == tried


def test_an_image_for_other_gpus(machine: Machine) -> None:
    entry = {"reference": "docker.io/a/vllm:1", "gfx": ["gfx942", "gfx950"]}
    other = replace(machine, catalog={**machine.catalog, "images": [entry]})
    (finding,) = found(other, replace(GOOD, image="a/vllm:1"))
    assert finding.code == "STK-D66" and "only for gfx942, gfx950" in finding.what
    assert found(other, replace(GOOD, image="localhost/a/vllm:1")) != []
    assert found(other, replace(GOOD, image="docker.io/b/vllm:1")) == []


def test_an_image_for_vulkan_needs_no_compute_device(machine: Machine) -> None:
    vulkan = Container("podman", "llama", "ghcr.io/ggml-org/llama.cpp:server-vulkan", "running",
                       devices=("/dev/dri/renderD128",))  # fmt: skip
    assert found(machine, vulkan) == []


@pytest.mark.parametrize("code", [0, 130, 137, 143])
def test_a_container_that_somebody_stopped_is_left_alone(machine: Machine, code: int) -> None:
    bad = with_environment(VLLM_USE_V1="1")
    assert found(machine, replace(bad, state="exited", exit_code=code)) == []
    assert found(machine, replace(bad, state="exited", exit_code=1)) != []


def test_a_machine_without_a_gpu_is_not_lectured(machine: Machine) -> None:
    facts = {**machine.facts, "gpus": []}
    profile = {**machine.profile, "serving_gpus": []}
    assert found(replace(machine, facts=facts, profile=profile), CASES[0][0]) == []


def test_a_quadlet_unit_is_read(tmp_path: Path) -> None:
    root = healthy(tmp_path)
    path = "etc/containers/systemd/stroke-inference.container"
    write(root, path, QUADLET.format(image=IMAGE, more=""))
    (container,) = doctor_containers.quadlets(host(root), None)
    assert container.devices == DEVICES
    assert container.arguments == ("model", "--port", "8000")
    assert container.environment == {"HOME": "/cache", "VLLM_ROCM_USE_AITER": "0"}
    assert doctor.examine(doctor_machine.read(root)) == []
    write(root, path, QUADLET.format(image=IMAGE, more="--disable-log-requests"))
    (finding,) = doctor.examine(doctor_machine.read(root))
    assert finding.code == "STK-D61" and doctor.exit_of([finding]) is Exit.FAILED
    assert f"/{path}: --disable-log-requests" in finding.evidence
    assert f"sudoedit /{path}" in finding.fix and "stroke-inference.service" in finding.fix


def inspected(**changes: Any) -> dict[str, Any]:
    """What `inspect` prints, cut down to what matters."""
    return {
        "Id": "0123456789abcdef",
        "Name": "vllm",
        "Path": "vllm",
        "Args": ["serve", "Qwen/Qwen3-8B", "--swap-space", "4"],
        "ImageName": IMAGE,
        "RestartCount": 2,
        "State": {"Status": "running", "ExitCode": 0},
        "Config": {"Image": IMAGE, "Env": ["HF_TOKEN=hf_secret", "VLLM_USE_V1=1"], "Cmd": None},
        "HostConfig": {
            "Devices": [{"PathOnHost": "/dev/kfd"}, {"PathOnHost": "/dev/dri/renderD128"}],
            "GroupAdd": ["105"],
            "Privileged": False,
        },
        **changes,
    }


def runtime(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)


def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object) -> Any:
    """What doctor understands where podman answers like this."""
    text = answer if isinstance(answer, str) else json.dumps(answer)
    (tmp_path / "answer.json").write_text(text, encoding="utf-8")
    runtime(
        tmp_path, "podman", f'case $1 in ps) echo 0123;; *) cat "{tmp_path}/answer.json";; esac'
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor_containers, "RUNTIMES", ("podman",))
    return doctor_containers.containers(host(Path("/")), None)


def test_what_podman_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    containers, problems = asked(tmp_path, monkeypatch, [inspected(), {"Name": "web"}])
    (container,) = [one for one in containers if one.runtime == "podman"]
    assert problems == []
    assert container.devices == DEVICES and container.groups == ("105",)
    assert container.arguments == ("vllm", "serve", "Qwen/Qwen3-8B", "--swap-space", "4")
    assert (container.state, container.restarts) == ("running", 2)


def test_what_docker_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = inspected(Name="/vllm", ImageName=None)
    item["HostConfig"]["DeviceRequests"] = [{"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=0"]}]
    containers, _ = asked(tmp_path, monkeypatch, [item])
    (container,) = [one for one in containers if one.runtime == "podman"]
    assert (container.name, container.image) == ("vllm", IMAGE)
    assert "amd.com/gpu=0" in container.devices


@pytest.mark.parametrize(
    "answer", ["", "no json", "{}", '[1, null, "x"]', '[{"Config": [], "State": 7, "Args": null}]']
)
def test_an_answer_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    containers, problems = asked(tmp_path, monkeypatch, answer)
    assert [one for one in containers if one.runtime == "podman"] == []
    assert len(problems) <= 1


def test_a_runtime_that_refuses_to_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime(tmp_path, "docker", "echo 'permission denied on the socket' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(doctor_containers, "RUNTIMES", ("docker",))
    _, problems = doctor_containers.containers(host(Path("/")), None)
    assert problems == ["docker: permission denied on the socket"]


def test_no_secret_of_a_container_is_told(machine: Machine) -> None:
    secret = with_environment(HF_TOKEN="hf_abcdefghijklmnop", VLLM_USE_V1="1")  # noqa: S106
    other = replace(machine, containers=(secret,))
    document = json.dumps(doctor.document(other, doctor.examine(other)))
    assert "STK-D62" in document and "hf_abc" not in document
