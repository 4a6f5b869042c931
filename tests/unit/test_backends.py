"""Docker's unit, Compose, several services on a host, CDI, and the record of images."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.plugins import plugin
from tests.unit.test_quadlet import STRIX, TINY, settings

server = plugin("inference_server", "inference_server")
filters = server.FilterModule().filters()
Json = dict[str, Any]
COMMON: Json = {
    **{key: value for key, value in settings().items() if key not in ("gpus", "identity")},
    **{"rootless": "no", "cdi": False, "gpus": [], "start": True, "user": "stroke", "groups": []},
    **{"api_key_file": None, "exposed": False},
}


def unit(**changes: Any) -> str:
    text: str = server.inference_unit(settings(**({"runtime": "docker"} | changes)))["text"]
    return text


def values(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_dockers_unit_gives_no_more_rights_than_podmans() -> None:
    (command,) = values(unit(), "ExecStart")
    for words in ("--cap-drop ALL", "--security-opt no-new-privileges", "--read-only",
                  "--user 997:996", "--group-add 992", "--publish 127.0.0.1:8000:8000",
                  "--device /dev/kfd --device /dev/dri/renderD128", "--pull never"):  # fmt: skip
        assert words in command
    assert "privileged" not in command and "seccomp" not in command


def test_an_older_docker_gets_no_option_that_it_does_not_know() -> None:
    assert "--health-start-interval" in unit(docker="26.1.5")
    assert "--health-start-interval" not in unit(docker="24.0.7")


def test_docker_is_started_when_it_answers_and_drained_before_it_is_stopped() -> None:
    text = unit(engine="llamacpp", **{"definition": settings("llamacpp")["definition"]})
    (ready,) = values(text, "ExecStartPost")
    assert "= healthy" in ready and '\\"$MAINPID\\"' in ready
    drain, stop = values(text, "ExecStop")
    assert "/slots" in drain and drain.startswith("-/usr/bin/timeout 30")
    assert "container stop -t 30" in stop
    assert len(values(unit(), "ExecStop")) == 1, "vLLM drains by itself"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_dockers_unit(tmp_path: Path) -> None:
    path = tmp_path / "stroke-inference.service"
    text = unit(**TINY).replace("/usr/bin/docker", "/bin/true")
    path.write_text(text.replace("docker.service", "basic.target"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert path.name not in done.stderr


def test_compose_has_the_same_container() -> None:
    one = settings(extra_env={"PRICE": "5$"})
    document = yaml.safe_load(filters["inference_compose"]([one]))
    service = document["services"]["stroke-inference"]
    assert service["user"] == "997:996" and service["group_add"] == ["992", "44"]
    assert service["devices"] == ["/dev/kfd", "/dev/dri/renderD128"]
    assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert service["environment"]["PRICE"] == "5$$"
    assert service["restart"] == "on-failure:5"


def services(*servers: Json, **common: Any) -> list[Json]:
    found: list[Json] = filters["inference_services"](COMMON | common, list(servers))
    return found


def test_without_a_list_there_is_the_one_service() -> None:
    (one,) = services()
    assert (one["unit"], one["container"]) == ("stroke-inference.service", "stroke-inference")
    assert one["url"] == "http://127.0.0.1:8000" and one["rootless"] is False
    assert one["cdi"] == "false" and one["cache_path"].endswith("/stroke-inference")


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
        ("192.0.2.7", "http://192.0.2.7:8000"),
    ],
)
def test_an_endpoint_is_asked_where_the_host_reaches_it(address: str, url: str) -> None:
    assert services(bind=address)[0]["url"] == url


def test_an_entry_takes_what_it_leaves_out_and_has_caches_of_its_own() -> None:
    one, two = services({"name": "a", "port": "8001"}, {"name": "b", "model": "m"})
    assert (one["port"], one["model"], one["cache_path"]) == (
        *(8001, "Qwen/Qwen3-8B", "/var/lib/stroke/cache/a"),
    )
    assert (two["port"], two["model"]) == (8000, "m")


GPUS = [STRIX | {"slot": "0000:03:00.0"}, STRIX | {"slot": "0000:83:00.0"}]


@pytest.mark.parametrize(
    ("servers", "codes"),
    [
        ([{"name": "a", "gpus": ["0000:03:00.0"]},
          {"name": "b", "port": 8001, "gpus": ["0000:83:00.0"]}], []),
        ([{"name": "a", "gpus": ["0000:03:00.0"]},
          {"name": "b", "port": 8001, "gpus": ["0000:03:00.0"]}], ["STK-441"]),
        ([{"name": "a", "gpus": ["0000:03:00.0"]},
          {"name": "b", "gpus": ["0000:83:00.0"]}], ["STK-441"]),
        ([{"name": "a", "gpus": ["0000:03:00.0"]},
          {"name": "a", "port": 8001, "gpus": ["0000:83:00.0"]}], ["STK-441", "STK-441"]),
        ([{"name": "a"}, {"name": "b", "port": 8001}], ["STK-441"]),
        ([{"name": "a", "gpus": ["0000:99:00.0"]}], ["STK-442"]),
        ([{"name": "a", "rootless": True, "runtime": "docker"}], ["STK-303"]),
    ],
)  # fmt: skip
def test_services_that_clash_are_refused(servers: list[Json], codes: list[str]) -> None:
    found = filters["inference_clashes"](services(*servers), GPUS)
    assert [problem["code"] for problem in found] == codes


def test_services_may_share_the_only_gpu() -> None:
    servers = services({"name": "a"}, {"name": "b", "port": 8001})
    assert filters["inference_clashes"](servers, GPUS[:1]) == []


def test_a_service_gets_the_nodes_of_its_gpus_only() -> None:
    gpus = [GPUS[0], GPUS[1] | {"render_node": "/dev/dri/renderD129"}]
    text = unit(runtime="podman", gpus=gpus, gpu_slots=["0000:83:00.0"])
    assert values(text, "AddDevice") == ["/dev/kfd", "/dev/dri/renderD129"]


CDI = [
    {"name": "amd.com/gpu=0", "nodes": ["/dev/dri/renderD128", "/dev/kfd"]},
    {"name": "amd.com/gpu=all", "nodes": ["/dev/dri/renderD128", "/dev/dri/renderD129"]},
]


def test_cdi_is_used_where_it_describes_exactly_the_chosen_gpus() -> None:
    assert values(unit(runtime="podman", cdi_devices=CDI), "AddDevice") == ["amd.com/gpu=0"]
    assert (
        values(unit(runtime="podman", cdi_devices=CDI, cdi="false"), "AddDevice")[0] == "/dev/kfd"
    )
    other = [CDI[0] | {"nodes": ["/dev/dri/renderD130"]}]
    assert values(unit(runtime="podman", cdi_devices=other), "AddDevice")[0] == "/dev/kfd"
    assert "amd.com" not in unit(docker="26.1.5", cdi_devices=CDI)
    assert "--device amd.com/gpu=0" in unit(docker="28.2.0", cdi_devices=CDI)


def test_secrets_are_mounted_and_pointed_to() -> None:
    secrets = {"arguments": ["--api-key-file", "/run/key"], "mounts": [["/etc/k", "/run/key"]]}
    for runtime in ("podman", "docker"):
        text = unit(runtime=runtime, secrets=secrets)
        assert "--api-key-file /run/key" in text and "/etc/k:/run/key:ro" in text


KEYED: Json = {
    "arguments": ["--config", "/run/stroke/vllm.yaml"],
    "environment": {"VLLM_LOGGING_CONFIG_PATH": "/run/stroke/logging.json"},
    "mounts": [["/etc/stroke/secrets/stroke-inference/api_key", "/run/stroke/api_key"]],
}


@pytest.mark.parametrize("form", [{"runtime": "podman"}, {"runtime": "docker"},
                                  {"runtime": "podman", "rootless": True}])  # fmt: skip
def test_every_form_mounts_the_key_and_names_no_more_than_its_place(form: Json) -> None:
    text = unit(**form, secrets=KEYED)
    assert "/etc/stroke/secrets/stroke-inference/api_key:/run/stroke/api_key:ro" in text
    assert "VLLM_LOGGING_CONFIG_PATH=/run/stroke/logging.json" in text


def test_compose_mounts_the_key_too() -> None:
    document = yaml.safe_load(filters["inference_compose"]([settings(secrets=KEYED)]))
    (service,) = document["services"].values()
    place = "/etc/stroke/secrets/stroke-inference/api_key:/run/stroke/api_key:ro"
    assert place in service["volumes"] and "/run/stroke/vllm.yaml" in service["command"]


def test_draining_gives_the_key_by_a_pipe() -> None:
    definition = settings("llamacpp")["definition"]
    words = definition["drain"]["command"]
    script = words[words.index("-c") + 1]
    assert "--header @-" in script and "/run/stroke/api_key" in script
    for word in (word for word in words if word != script):
        assert "key" not in word
    assert not any("$(" in word or "`" in word for word in words), "it would be an argument"


def test_a_watchdog_is_told_of_each_service() -> None:
    one, two = filters["inference_watched"](
        services({"name": "a", "runtime": "docker"}, {"name": "b", "rootless": True, "port": 8001})
    )
    assert (one["runtime"], one["user"], two["user"]) == ("docker", None, "stroke")
    assert two["url"].endswith(":8001") and two["key_file"] == "/etc/stroke/secrets/b/api_key"
    assert one["progress"] == settings()["definition"]["progress"]


def test_the_look_sees_every_place_of_every_service() -> None:
    found = filters["inference_look"](
        services({"name": "a", "runtime": "docker"}, {"name": "b", "rootless": True}), "/home/s"
    )
    assert "/etc/systemd/system/a.service" in found["paths"]
    assert "/home/s/.config/containers/systemd/b.container" in found["paths"]
    assert found["stores"] == [{"runtime": "docker", "user": None},
                               {"runtime": "podman", "user": "stroke"}]  # fmt: skip


def test_the_record_keeps_what_was_there_first_and_one_image_to_go_back_to() -> None:
    first = filters["inference_record"](None, {"reference": "i:1", "found": None})
    proven = filters["inference_superseded"](first, "1")["record"]
    second = filters["inference_record"](proven, {"reference": "i:2", "found": "1"})
    assert (second["before"], second["brought"]) == (None, ["1"])
    proven = filters["inference_superseded"](second, "2")
    assert (proven["record"]["brought"], proven["remove"]) == (["1", "2"], [])
    assert filters["inference_superseded"](proven["record"], "3")["remove"] == ["1"]
