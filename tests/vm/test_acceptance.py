"""What `make test` has no time for: other ways to start, other guests, an interrupt."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from stroke.disk import base_disk
from stroke.guest_recipe import Recipe
from stroke.host_apt import read_archive
from stroke.sandbox import SandboxOptions
from stroke.sealing import seal

from tests.vm.guest import ROOT, Guest, children, interrupt, start

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent


@contextmanager
def booted(state: Path, options: SandboxOptions) -> Iterator[Guest]:
    guest = start(state, options)
    try:
        yield guest
    finally:
        guest.sandbox.down()


def test_plain_ansible_playbook_takes_a_fresh_guest_to_the_same_state(tmp_path: Path) -> None:
    with booted(tmp_path, SandboxOptions(name="stroke-plain")) as guest:
        command: list[str | Path] = [BIN / "ansible-playbook", "-i", guest.inventory, "site.yml"]
        first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert first.returncode == 0, first.stdout[-5000:] + first.stderr[-5000:]
        plan = guest.stroke("plan", "--detailed-exitcode")
        assert plan.status == 0, plan
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert re.search(r"changed=0 .*failed=0", second.stdout), second.stdout[-5000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (made,) = place.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def wheel_command(wheel: Path) -> Path:
    """The wheel in an empty environment, behind a link as pipx makes it."""
    place = wheel.parent
    venv.create(place / "venv", with_pip=True)
    subprocess.run([place / "venv/bin/pip", "install", "--quiet", wheel], check=True)
    link = place / "stroke"
    link.symlink_to(place / "venv/bin/stroke")
    return link


def test_wheel_provisions_a_guest_and_survives_an_interrupt(
    wheel_command: Path, tmp_path: Path
) -> None:
    with booted(tmp_path, SandboxOptions(name="stroke-wheel")) as guest:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        environment = {"PATH": "/usr/bin:/bin", "HOME": os.fspath(elsewhere), "NO_COLOR": "1"}
        command: list[str | Path] = [wheel_command, "provision", guest.inventory, "--yes", "--json"]
        process = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            wait_for_package_work(guest, process)
            before = children(process.pid)
            assert any("ansible-playbook" in words for words in before), before
        finally:
            if process.poll() is None:
                interrupt(process)
            stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 130, stderr
        assert json.loads(stdout)["hosts"][0]["interrupted_in"], stdout
        assert "had begun on a host finishes there by itself" in stderr
        assert running_playbooks(guest.inventory) == []
        again = subprocess.run(
            command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False
        )
        assert again.returncode == 0, again.stdout[-5000:] + again.stderr[-5000:]
        (host,) = json.loads(again.stdout)["hosts"]
        assert host["endpoint"]["completion"]["tokens"] > 0


def test_doctor_explains_the_guest_that_it_runs_in(wheel: Path, tmp_path: Path) -> None:
    with booted(tmp_path, SandboxOptions(name="stroke-doctor")) as guest:
        python = guest.run("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
        packages = tmp_path / "packages"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", packages,
             "--python-version", python, "--only-binary=:all:", wheel], check=True,
        )  # fmt: skip
        archive = tmp_path / "packages.tar"
        subprocess.run(["tar", "-C", packages, "-cf", archive, "."], check=True)
        with archive.open("rb") as stream:
            unpack = guest.sandbox.login().command("mkdir doctor && tar -C doctor -x")
            subprocess.run(unpack, stdin=stream, check=True)
        doctor = "env PYTHONPATH=doctor python3 -m stroke doctor"
        report = json.loads(guest.run(f"sudo {doctor} --json"))
        assert report["machine"]["kernel"] == guest.run("uname -r")
        assert report["machine"]["distribution"].startswith("Debian GNU/Linux 13")
        assert report["machine"]["virtualization"] in ("qemu", "kvm")
        assert report["machine"]["boot_loader"] == "grub"
        assert (report["status"], report["exit_code"]) == ("no gpu", 0)
        assert "no AMD GPU" in guest.run(doctor), "an ordinary user is told the same"


def wait_for_package_work(
    guest: Guest, process: subprocess.Popen[str], seconds: float = 900
) -> None:
    """Until apt has dpkg unpack or configure; timers of the guest ask dpkg questions as well."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        # A busy guest may refuse a login now and then.
        commands = guest.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False)
        if "--status-fd" in commands:
            return
        time.sleep(2)
    raise AssertionError("no package work began")


def running_playbooks(inventory: Path) -> list[str]:
    """Those that use this inventory; whole lines, which ps cuts where COLUMNS is set."""
    lines = subprocess.check_output(["ps", "-ww", "-eo", "args="], text=True).splitlines()
    return [line for line in lines if "ansible-playbook" in line and str(inventory) in line]


@pytest.mark.parametrize(
    ("options", "beforehand", "code"),
    [
        (SandboxOptions(name="stroke-bookworm", release="bookworm"), "", "STK-401"),
        (SandboxOptions(name="stroke-small-boot", boot_mib=160), "", "STK-403"),
        (
            SandboxOptions(name="stroke-small-disk", disk_gib=3),
            "sudo fallocate -l $(($(df --output=avail -k / | tail -1) - 1000000))K /var/filler",
            "STK-404",
        ),
    ],
    ids=["debian-12", "boot-too-small", "disk-too-small"],
)
def test_unfit_guest_is_refused_before_a_change(
    options: SandboxOptions, beforehand: str, code: str, tmp_path: Path
) -> None:
    with booted(tmp_path, options) as guest:
        guest.run(beforehand)
        before = guest.fingerprint()
        result = guest.stroke("provision", "--yes")
        assert result.codes == [code], result
        assert result.status == 5, result
        assert all(problem["hint"] for problem in result.host["problems"])
        assert guest.fingerprint() == before


def test_cloud_image_boots_with_its_own_loader_and_lets_us_in(tmp_path: Path) -> None:
    """A disk of our own stands in for a vendor's: cloud-init in it, no user, no key, no name."""
    recipe = Recipe("trixie", read_archive(), cloud_init=True)
    image = base_disk(recipe, print, partial(seal, accel="auto")).image
    with booted(tmp_path, SandboxOptions(name="stroke-cloud", image=image)) as guest:
        assert guest.run("hostname") == "stroke-cloud"
        assert "done" in guest.run("cloud-init status")
        plan = guest.stroke("plan", "--detailed-exitcode")
        assert plan.status == 10, plan
