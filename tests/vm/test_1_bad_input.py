"""A plan of a fresh guest changes nothing, and bad input is told before anything is changed."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module", autouse=True)
def untouched(guest: Guest) -> Iterator[None]:
    """Whatever the tests of this file ask for, the guest is the same afterwards."""
    before = guest.fingerprint()
    yield
    assert guest.fingerprint() == before


def host_variable(guest: Guest, name: str) -> str:
    found = re.search(rf'^ *{name}: "?([^"\n]*)"?$', guest.inventory.read_text(), re.M)
    assert found, name
    return found[1]


def new_connections(place: Path) -> dict[str, str]:
    """No connection of an earlier run is used again: it would need neither key."""
    return {"ANSIBLE_SSH_CONTROL_PATH_DIR": os.fspath(place / "cp")}


def copy_of_inventory(guest: Guest, target: Path, pattern: str, replacement: str) -> Path:
    text, count = re.subn(pattern, replacement, guest.inventory.read_text(), flags=re.M)
    assert count == 1, pattern
    target.write_text(text, encoding="utf-8")
    return target


def test_plan_lists_every_change_with_its_reason(guest: Guest) -> None:
    before = guest.fingerprint()
    result = guest.stroke("plan", "--detailed-exitcode")
    assert result.status == 10, result
    assert guest.fingerprint() == before
    changes = result.host["changes"]
    assert [change for change in changes if len(change["reason"]) < 10] == []
    assert {change["stage"] for change in changes} == {"prepare", "reboot", "serve"}
    roles = {change["role"] for change in changes}
    assert roles >= {"kernel", "boot_params", "rocm", "gpu_access", "container_runtime",
                     "model_store", "inference_server"}  # fmt: skip


def test_plan_in_words_is_readable(guest: Guest) -> None:
    run = subprocess.run(
        [word for word in guest.command("plan") if word != "--json"],
        env=guest.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "linux-image-amd64" in run.stdout
    assert "ttm.pages_limit" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_unreachable_host(guest: Guest, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        inventory = copy_of_inventory(
            guest, tmp_path / "hosts.yml", r"ansible_port: \d+",
            f"ansible_port: {taken.getsockname()[1]}",
        )  # fmt: skip
        result = guest.stroke("plan", hosts=inventory)
    assert result.status == 4, result
    assert result.codes == ["STK-201"]


def test_wrong_login_key(guest: Guest, tmp_path: Path) -> None:
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    inventory = copy_of_inventory(
        guest, tmp_path / "hosts.yml", r"(ansible_ssh_private_key_file): .*", rf'\1: "{key}"'
    )
    result = guest.stroke("plan", hosts=inventory, environment=new_connections(tmp_path))
    assert result.status == 4, result
    assert result.codes == ["STK-202"]


def test_changed_host_key(guest: Guest, tmp_path: Path) -> None:
    known_hosts = tmp_path / "known_hosts"
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    known_hosts.write_text(f"[127.0.0.1]:{guest.sandbox.login().port} {public}\n")
    inventory = copy_of_inventory(
        guest, tmp_path / "hosts.yml", re.escape(os.fspath(guest.sandbox.login().known_hosts)),
        os.fspath(known_hosts),
    )  # fmt: skip
    result = guest.stroke("plan", hosts=inventory, environment=new_connections(tmp_path))
    assert result.status == 4, result
    assert result.codes == ["STK-203"]


def test_sudo_password_needed(guest: Guest) -> None:
    rule = "/etc/sudoers.d/admin"
    guest.run(f"""sudo sh -c '
        cp -p {rule} /var/tmp/rule
        echo "admin ALL=(ALL:ALL) ALL, NOPASSWD: /usr/bin/mv /var/tmp/rule {rule}" >{rule}'""")
    try:
        result = guest.stroke("plan")
    finally:
        guest.run(f"sudo -n /usr/bin/mv /var/tmp/rule {rule}")
    assert result.status == 4, result
    assert result.codes == ["STK-204"]


@pytest.mark.parametrize(
    ("setting", "code", "status"),
    [
        ("inference_server_prot=9000", "STK-301", 2),
        ("inference_server_port=many", "STK-302", 2),
        ('{"inference_server_extra_env": {"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}}', "STK-303", 2),
        ("rocm_key_fingerprint=0000000000000000000000000000000000000000", "STK-406", 5),
    ],
)
def test_refused_setting(guest: Guest, setting: str, code: str, status: int) -> None:
    result = guest.stroke("provision", "--yes", "-e", setting)
    assert result.codes == [code], result
    assert result.status == status, result


def test_repository_signed_by_another_key(guest: Guest) -> None:
    """The key is the one that was asked for, but it has not signed this repository."""
    wrong = host_variable(guest, "rocm_key_url").replace("/rocm.gpg", "/wrong.gpg")
    armoured = guest.run(
        f"python3 -c 'import urllib.request as u; print(u.urlopen(\"{wrong}\").read().decode())'"
    )
    listing = subprocess.run(
        ["gpg", "--batch", "--with-colons", "--show-keys"], input=armoured,
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.M)
    assert found
    key = {"rocm_key_url": wrong, "rocm_key_fingerprint": found[1]}
    result = guest.stroke("provision", "--yes", "-e", json.dumps(key))
    assert result.codes == ["STK-406"], result
    assert result.status == 5, result


def test_corrupt_image_archive(guest: Guest, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"not an archive\n" * 1000)
    result = guest.stroke("provision", "--yes", "-e", f"inference_server_image_archive={archive}")
    assert result.codes == ["STK-405"], result
    assert result.status == 5, result


def test_missing_model_file(guest: Guest, tmp_path: Path) -> None:
    model = {"name": "tiny.gguf", "source": f"{tmp_path}/none.gguf"}
    wanted = {"model_store_models": [model], "inference_server_model": "tiny.gguf"}
    result = guest.stroke("provision", "--yes", "-e", json.dumps(wanted))
    assert result.codes == ["STK-413"], result
    assert result.status == 5, result
