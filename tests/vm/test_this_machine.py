"""`stroke provision` inside of a guest, through a real reboot into a new kernel.

The systemd part of it is in tests/this_machine, in a container; here the kernel changes, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from pathlib import Path

import pytest
import yaml

from tests import runtime_packages
from tests.vm.guest import ROOT, Guest

pytestmark = [pytest.mark.vm, pytest.mark.slow]
MOTD = "/run/motd.d/50-stroke"
STROKE = "cd ~ && stroke"


def pack(file: Path, python: str) -> None:
    """This checkout, and what it needs for the guest's Python."""
    runtime_packages.install(file.parent / "site", python)
    with tarfile.open(file, "w:gz") as archive:
        for part in ("tool", "roles", "playbooks", "site.yml"):
            archive.add(ROOT / part, f"stroke/{part}")
        archive.add(file.parent / "site", "stroke/site")
        for name, text in runtime_packages.programs().items():
            (file.parent / name).write_text(text)
            (file.parent / name).chmod(0o755)
            archive.add(file.parent / name, f"stroke/bin/{name}")


def send(guest: Guest, file: Path, target: str) -> None:
    with file.open("rb") as data:
        subprocess.run(guest.sandbox.login().command("cat", f">{target}"), stdin=data, check=True)


def variables(guest: Guest, tmp_path: Path) -> None:
    """The inventory's settings as a file in the guest, and the files that they name beside it."""
    found = yaml.safe_load(guest.inventory.read_text(encoding="utf-8"))["all"]
    (host,) = found["hosts"].values()
    settings = {
        name: value for name, value in {**found.get("vars", {}), **(host or {})}.items()
        if not name.startswith("ansible_")
    }  # fmt: skip
    text = json.dumps(settings)
    guest.run("sudo install -d -o $(id -u) /opt/artifacts")
    local = [settings["inference_server_image_archive"],
             *(model["source"] for model in settings["model_store_models"])]  # fmt: skip
    for path in map(Path, local):
        send(guest, path, f"/opt/artifacts/{path.name}")
        text = text.replace(os.fspath(path), f"/opt/artifacts/{path.name}")
    (tmp_path / "vars.json").write_text(text)
    send(guest, tmp_path / "vars.json", "vars.json")


def test_a_run_outlives_the_reboot_of_its_own_machine(guest: Guest, tmp_path: Path) -> None:
    version = guest.run("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
    pack(tmp_path / "stroke.tar.gz", version)
    send(guest, tmp_path / "stroke.tar.gz", "stroke.tar.gz")
    guest.run("sudo tar xzf stroke.tar.gz -C /opt && sudo ln -s /opt/stroke/bin/* /usr/local/bin/")
    variables(guest, tmp_path)
    before = guest.boot_id
    said = guest.run(f"{STROKE} provision --yes --after-reboot continue -e @vars.json 2>&1")
    assert "reboots in a few seconds" in said, said
    deadline = time.monotonic() + 3600
    while not guest.run(f"cat {MOTD} 2>/dev/null || true", check=False):
        assert time.monotonic() < deadline, guest.run("journalctl -u stroke-resume", check=False)
        time.sleep(10)
    assert guest.boot_id != before
    assert "this machine is provisioned" in guest.run(f"cat {MOTD}")
    assert guest.run("sudo find /etc/systemd /var/lib/stroke -name '*resume*'") == ""
    assert not guest.run("uname -r").startswith("6.12.")
    report = json.loads(guest.run(f"{STROKE} provision --yes --json -e @vars.json"))
    assert report["hosts"][0]["changes"] == []
