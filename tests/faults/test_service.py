"""What goes wrong with a service: what is told, what is left on the host, and what serves after it.

One host, through the command line and under its own systemd; the tests are in order. The table of
docs/services.md says the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.containers import container
from tests.faults.service import UNIT, Service

pytestmark = pytest.mark.container

MODELS = "/var/lib/stroke/models"
TAKEN = 8123
KNOWN = "11669"  # a llama.cpp whose arguments the catalogue has


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with container("stroke-faults", tmp_path_factory.mktemp("faults")) as host:
        yield Service(host)


@pytest.fixture
def taken(service: Service, request: pytest.FixtureRequest) -> Iterator[int]:
    """A port on which another program listens."""
    port = int(request.param)
    service.host.sh(f"systemd-run --quiet --unit=other python3 -m http.server {port}")
    yield port
    service.host.sh("systemctl stop other.service", check=False)


@pytest.mark.parametrize("taken", [8000], indirect=True)
def test_a_first_start_with_its_port_taken_is_told_and_the_next_run_serves(
    service: Service, taken: int
) -> None:
    with pytest.raises(AssertionError, match="STK-601"):
        service.host.converge()
    service.until("failed", 120)
    journal = service.host.sh(f"journalctl --no-pager --unit={UNIT}")
    assert "address already in use" in journal
    service.host.sh("systemctl stop other.service")
    mended = service.provision()
    assert mended.status == 0, mended
    service.as_before()


def test_an_archive_that_is_cut_off_is_refused_before_a_change(
    service: Service, tmp_path: Path
) -> None:
    before = service.invocation
    variables = yaml.safe_load(service.host.inventory.read_text(encoding="utf-8"))["all"]["vars"]
    archive = Path(variables["inference_server_image_archive"])
    short = tmp_path / archive.name
    short.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    refused = service.provision(inference_server_image_archive=str(short))
    assert (refused.status, refused.codes) == (5, ["STK-405"]), refused
    assert refused.host["changed"] == 0
    assert service.invocation == before
    service.as_before()


def test_an_image_that_no_registry_gives_leaves_the_service_as_it_was(service: Service) -> None:
    before = service.invocation
    failed = service.provision(
        inference_server_image="127.0.0.1:9/none/engine:1", inference_server_image_archive=""
    )
    assert (failed.status, failed.codes) == (3, ["STK-414"]), failed
    assert "127.0.0.1:9/none/engine:1" in failed.problems[0]["what"]
    assert service.invocation == before
    service.as_before()


def test_a_model_file_that_is_not_there_is_refused_before_a_change(
    service: Service, tmp_path: Path
) -> None:
    before = service.invocation
    model = {"name": "none.gguf", "source": str(tmp_path / "none.gguf")}
    refused = service.provision(model_store_models=[model], inference_server_model="none.gguf")
    assert (refused.status, refused.codes) == (5, ["STK-413"]), refused
    assert service.invocation == before
    service.as_before()


@pytest.mark.parametrize("taken", [TAKEN], indirect=True)
def test_a_change_to_a_port_that_is_taken_is_taken_back(service: Service, taken: int) -> None:
    failed = service.provision(inference_server_port=taken)
    assert (failed.status, failed.codes) == (3, ["STK-605"]), failed
    assert "the one before serves again" in failed.problems[0]["what"]
    service.as_before()


def test_an_argument_that_the_catalogue_does_not_know_is_refused_before_a_change(
    service: Service,
) -> None:
    before = service.invocation
    refused = service.provision(
        inference_server_engine_version=KNOWN, inference_server_extra_args=["--no-such-argument"]
    )
    assert refused.status == 5 and refused.codes[0].startswith("STK-43"), refused
    assert service.invocation == before


def test_a_setting_that_only_the_engine_refuses_is_taken_back(service: Service) -> None:
    failed = service.provision(inference_server_extra_env={"LLAMA_ARG_CTX_SIZE": "wide"})
    assert (failed.status, failed.codes) == (3, ["STK-605"]), failed
    service.as_before()


def test_a_killed_container_is_started_again_and_the_status_says_so(service: Service) -> None:
    service.host.sh("systemctl kill --signal=SIGKILL --kill-whom=all " + UNIT)
    service.serves()
    seen = service.state()
    assert seen["automatic_restarts"] == 1 and seen["starts"] > 1, seen
    assert "137" in seen["last_stop"] or "KILL" in seen["last_stop"], seen


def test_a_crash_loop_ends_is_told_and_the_next_run_mends_it(service: Service) -> None:
    model = service.host.sh(f"find {MODELS} -maxdepth 1 -type f").splitlines()[0]
    service.host.sh(f"truncate --size=100 '{model}'; systemctl restart --no-block {UNIT}")
    service.until("failed", 240)
    told = service.stroke("status")
    assert told.status == 6, told
    (seen,) = told.host["state"]["services"]
    assert seen["health"] == "failed" and "failed too often" in seen["why"], seen
    mended = service.provision()
    assert mended.status == 0, mended
    service.as_before()


def test_packages_cut_off_half_way_are_refused_and_finished_with_consent(service: Service) -> None:
    """As after a power cut: one package is unpacked and not configured, another one has to come."""
    service.host.sh("""set -eu
apt-get -q -y remove crun >/dev/null 2>&1 || true
build=$(mktemp -d); mkdir -p "$build/p/DEBIAN"
printf 'Package: cut-off\\nVersion: 1\\nArchitecture: all\\nMaintainer: t\\nDescription: t\\n' \
    >"$build/p/DEBIAN/control"
dpkg-deb --build --root-owner-group "$build/p" "$build/p.deb" >/dev/null
dpkg --unpack "$build/p.deb" >/dev/null
rm -rf "$build" """)
    refused = service.provision()
    assert (refused.status, refused.codes) == (5, ["STK-407"]), refused
    assert "preflight_repair_packages=true" in refused.problems[0]["hint"]
    plan = service.stroke("plan", preflight_repair_packages=True)
    (repair,) = [c for c in plan.host["changes"] if c["role"] == "preflight"]
    assert (repair["action"], repair["before"]) == ("repair", "unfinished: cut-off")
    mended = service.provision(preflight_repair_packages=True)
    assert mended.status == 0, mended
    status = service.host.sh("dpkg-query -W -f '${Status}' cut-off crun")
    assert status == "install ok installedinstall ok installed"
    service.as_before()


def test_beside_a_run_at_work_a_second_one_stops_and_one_that_waits_goes_on(
    service: Service,
) -> None:
    with service.began("provision", "--yes", "--full") as first:
        deadline = time.monotonic() + 120
        while service.host.sh("test -s /var/lib/stroke/lock && echo held || true") != "held":
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        refused = service.stroke("provision", "--yes", "--full", host_lock_wait=0)
        assert (refused.status, refused.codes) == (5, ["STK-520"]), refused
        waited = service.stroke("provision", "--yes", "--full", host_lock_wait=600)
        assert waited.status == 0, waited
        first.communicate(timeout=600)
        assert first.returncode == 0
    service.as_before()
