"""The real vLLM on a host that stroke provisioned: served, proven, measured, drained, keyed.

The host is a container. Its image is a bare Debian; the installation of test_vllm.py is mounted
into the service by a drop-in beside the role's unit, as an administrator would add a volume, so
that what starts it is the role's own unit with the role's own words.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.container_image import root_tar
from tests.containers import ROOT, _podman, container
from tests.contract.test_vllm import SMALL, VERSION, model, python
from tests.faults.service import UNIT, Service

pytestmark = pytest.mark.contract

# Without compiled kernels: they are in test_vllm.py.
WORDS = [*SMALL, "--enforce-eager"]
IMAGE = "localhost/stroke-test/vllm-cpu:1"
HUB_PORT = 8098
KEY = "canary-deployed-0123456789abcdef"
DROP_INS = "/etc/containers/systemd/stroke-inference.container.d"
DROP_IN = r"[Container]\nVolume=/opt/python:/opt/python:ro\nVolume=/opt/vllm:/opt/vllm:ro\n"
# A stream that is under way when the unit is told to stop: its last line has to come.
STREAM = """
import http.client, json, subprocess
connection = http.client.HTTPConnection("127.0.0.1", 8000, timeout=300)
question = {"prompt": "a", "max_tokens": 300, "stream": True, "ignore_eos": True}
connection.request("POST", "/v1/completions", json.dumps(question),
                   {"Content-Type": "application/json"})
chunks, done, stop = 0, False, None
for line in connection.getresponse():
    chunks += line.startswith(b"data: ")
    done = done or b"[DONE]" in line
    if chunks == 3 and stop is None:
        stop = subprocess.Popen(["systemctl", "stop", "UNIT"])
print(json.dumps({"chunks": chunks, "done": done, "stopped": stop.wait(120)}))
"""


def prefix() -> Path:
    """Where the Python of the installation lives, which is mounted beside it."""
    done = subprocess.run([python(), "-c", "import sys; print(sys.base_prefix)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    found = Path(done.stdout.strip())
    if found == Path("/usr"):
        pytest.skip("a Python below /usr cannot be mounted into another system's /usr")
    return found


def archive(target: Path) -> Path:
    """An image with the entry point of vLLM's, and all but vLLM itself."""
    release = python().parent.parent.glob("lib/python*")
    (library,) = (path.name for path in release)
    _podman(
        "import",
        *("--change", f"ENV PYTHONPATH=/opt/vllm/lib/{library}/site-packages"),
        *("--change", "ENV LD_LIBRARY_PATH=/opt/python/lib"),
        *("--change", f'ENTRYPOINT ["/opt/python/bin/{library}", "-m", '
                      '"vllm.entrypoints.cli.main", "serve"]'),
        root_tar("trixie", "vllm"), IMAGE,
    )  # fmt: skip
    try:
        _podman("save", "--quiet", "--format", "oci-archive", "--output", target, IMAGE)
    finally:
        _podman("image", "rm", "--force", IMAGE)
    return target


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("deployed")
    places = {prefix(): "/opt/python", python().parent.parent: "/opt/vllm", model(): "/srv/model"}
    mounts = tuple(f"--volume={here}:{there}:ro" for here, there in places.items())
    with container("stroke-contract", place, more=mounts) as host:
        _podman("cp", ROOT / "tests/hub.py", f"{host.name}:/srv/hub.py")
        host.sh(f"""
systemd-run --quiet --unit=hub python3 /srv/hub.py 127.0.0.1 {HUB_PORT} --files /srv/model
install -d {DROP_INS}
printf '{DROP_IN}' >{DROP_INS}/10-vllm.conf
""")
        host.inventory.write_text(json.dumps(wanted(host.inventory, archive(place / "vllm.tar"))))
        host.converge()
        yield Service(host)


def wanted(inventory: Path, image: Path) -> dict[str, object]:
    """The host with vLLM in place of llama.cpp."""
    found = yaml.safe_load(inventory.read_text(encoding="utf-8"))
    found["all"]["vars"] |= {
        "inference_server_engine": "vllm",
        "inference_server_engine_version": VERSION,
        "inference_server_image": IMAGE,
        "inference_server_image_archive": str(image),
        "inference_server_model": "tiny",
        "inference_server_extra_args": WORDS,
        "inference_server_extra_env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
        "model_store_endpoint": f"http://127.0.0.1:{HUB_PORT}",
        "model_store_models": [{"name": "tiny", "source": "hf:org/tiny", "revision": None}],
    }
    return dict(found)


def test_it_is_the_real_one_and_nothing_is_left_to_do(service: Service) -> None:
    said = service.host.sh(
        "python3 -c 'import urllib.request as u;"
        ' print(u.urlopen("http://127.0.0.1:8000/version").read().decode())\''
    )
    assert json.loads(said)["version"].startswith(VERSION)
    service.as_before()
    again = service.provision()
    assert (again.status, again.host["changed"]) == (0, 0), again


def test_it_is_proven(service: Service) -> None:
    proof = service.stroke("verify")
    assert proof.status == 0, proof
    status = {check["id"]: check["status"] for check in proof.host["verify"]}
    assert "failed" not in status.values(), proof.host["verify"]
    assert status["V501"] == "passed", "a completion"


def test_it_is_measured(service: Service) -> None:
    measured = service.stroke(
        "bench", "--concurrency", "1,2", "--repetitions", "1", "--requests", "4",
        "--prompt-tokens", "64", "--output-tokens", "32",
    )  # fmt: skip
    assert measured.status == 0, measured
    levels = measured.host["bench"]["levels"]
    assert [(level["concurrency"], level["errors"]) for level in levels] == [(1, 0), (2, 0)]
    assert all(level["output_per_s"]["median"] > 0 for level in levels), levels


def test_an_argument_that_this_version_has_no_more_is_refused(service: Service) -> None:
    before = service.invocation
    refused = service.provision(inference_server_extra_args=[*WORDS, "--swap-space", "1"])
    assert refused.status == 5, refused
    assert "0.18" in refused.problems[0]["what"], refused.problems
    assert service.invocation == before
    service.as_before()


def test_a_key_is_asked_for_and_is_nowhere_but_in_its_file(
    service: Service, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text(f"{KEY}\n", encoding="utf-8")
    keyed = service.provision(inference_server_api_key_file=str(key))
    assert keyed.status == 0, keyed
    proof = service.stroke("verify", inference_server_api_key_file=str(key))
    assert proof.status == 0, proof
    said = service.host.sh(f"""
journalctl --no-pager --unit {UNIT}; systemctl cat {UNIT}; ps -eww -o args
podman inspect stroke-inference; grep -rl {KEY} /var/lib/stroke || true
""")
    assert "vllm" in said and KEY not in said
    opened = service.provision()
    assert opened.status == 0, opened
    service.as_before()


def test_a_streaming_request_finishes_on_stop(service: Service) -> None:
    told = service.host.sh(f"python3 - <<'EOF'\n{STREAM.replace('UNIT', UNIT)}\nEOF")
    said = json.loads(told.splitlines()[-1])
    assert said == {"chunks": said["chunks"], "done": True, "stopped": 0} and said["chunks"] > 100
    assert service.property("ActiveState") == "inactive"
