"""What observe sees of a manifest's items on fixture hosts and through the programs it asks."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu_host import items, services, stores
from gpu_host.files import Host

from tests.unit.trees import ROOT, tree, write

OWN = "/etc/modprobe.d/stroke.conf"
IMAGE = "sha256:3f2a1b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718"
DIGEST = "sha256:" + "aaaabbbbccccdddd" * 4


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    root = tree("strix-halo-debian13-fixed", tmp_path / "host")
    uid, gid = os.getuid(), os.getgid()
    write(root, "/etc/passwd", f"me:x:{uid}:{gid}::/root:/bin/sh\nstroke:x:985:985::/:/bin/sh\n")
    write(root, "/etc/group", f"us:x:{gid}:\nrender:x:992:stroke\nstroke:x:985:\nvideo:x:44:\n")
    return root


def look(root: Path, *wanted: dict[str, Any]) -> list[dict[str, Any]]:
    host = Host(root)
    seen = items.observe(host, list(wanted))
    assert len(seen) == len(wanted)
    return seen


def test_file_is_seen_with_owner_mode_and_hash(fixed: Path) -> None:
    path = write(fixed, OWN, "options ttm pages_limit=1\n")
    path.chmod(0o644)
    (seen,) = look(fixed, {"kind": "file", "path": OWN})
    assert seen == {
        "exists": True,
        "type": "file",
        "mode": "0644",
        "owner": "me",
        "group": "us",
        "size": 26,
        "sha256": hashlib.sha256(b"options ttm pages_limit=1\n").hexdigest(),
        "content": "options ttm pages_limit=1\n",
    }


def test_private_binary_and_big_files_keep_their_content(fixed: Path) -> None:
    write(fixed, "/key", "secret").chmod(0o640)
    write(fixed, "/blob", b"\xff\xfe\0").chmod(0o644)
    write(fixed, "/long", b"x" * (items.SHOWN + 1)).chmod(0o644)
    seen = look(fixed, *({"kind": "file", "path": path} for path in ("/key", "/blob", "/long")))
    assert [entry["content"] for entry in seen] == [None, None, None]
    assert all(entry["sha256"] for entry in seen)


def test_models_are_not_read(fixed: Path) -> None:
    with write(fixed, "/model", "").open("wb") as stream:
        stream.truncate(items.HASHED + 1)
    write(fixed, "/small", "x")
    seen = look(
        fixed,
        {"kind": "file", "path": "/model"},
        {"kind": "file", "path": "/small", "opaque": True},
    )
    assert [(entry["size"], entry["sha256"]) for entry in seen] == [
        (items.HASHED + 1, None),
        (1, None),
    ]


def test_link_in_place_of_a_file_is_a_link_and_of_a_directory_is_followed(fixed: Path) -> None:
    write(fixed, "/real/file", "x")
    (fixed / "link").symlink_to("real/file")
    (fixed / "folder").symlink_to("real")
    (fixed / "dangling").symlink_to("nowhere")
    file, folder, dangling, gone = look(
        fixed,
        {"kind": "file", "path": "/link"},
        {"kind": "directory", "path": "/folder"},
        {"kind": "directory", "path": "/dangling"},
        {"kind": "file", "path": "/gone"},
    )
    assert (file["type"], file["sha256"]) == ("link", None)
    assert folder["type"] == "directory"
    assert dangling == {"exists": False}
    assert gone["exists"] is False


def test_packages_users_and_kernel(fixed: Path) -> None:
    podman, none, user, nobody, kernel = look(
        fixed,
        {"kind": "package", "name": "podman"},
        {"kind": "package", "name": "nosuch"},
        {"kind": "user", "name": "stroke", "groups": ["render"]},
        {"kind": "user", "name": "nosuch"},
        {"kind": "kernel", "minimum": "6.18.4"},
    )
    assert podman == {"version": "5.4.2+ds1-2+b1", "held": False}
    assert none == {"version": None, "held": False}
    assert user == {"exists": True, "groups": ["render", "stroke"], "subids": False}
    assert nobody == {"exists": False, "groups": [], "subids": False}
    assert kernel == {"running": "7.2.12+deb13-amd64", "version": "7.2.12-1~bpo13+1"}


@pytest.mark.parametrize(
    ("cmdline", "key", "values"),
    [
        ("quiet amd_iommu=off", "amd_iommu", ["off"]),
        ("amd_iommu=offx xamd_iommu=on", "amd_iommu", ["offx"]),
        ("amd_iommu=on amd_iommu=off", "amd_iommu", ["on", "off"]),
        ("ttm.pages-limit=5", "ttm.pages_limit", ["5"]),
        ('ttm.pages_limit="5"', "ttm.pages_limit", ["5"]),
        ('"ttm.pages_limit=5"', "ttm.pages_limit", ["5"]),
        ("quiet", "quiet", [""]),
        ("quiet -- amd_iommu=off", "amd_iommu", []),
        ("a=b=c", "a", ["b=c"]),
    ],
)
def test_kernel_arguments_are_whole_tokens(
    tmp_path: Path, cmdline: str, key: str, values: list[str]
) -> None:
    write(tmp_path, "/proc/cmdline", cmdline + "\n")
    assert look(tmp_path, {"kind": "kernel_arg", "key": key}) == [{"values": values}]


@pytest.mark.parametrize(
    ("reference", "image_id"),
    [
        ("localhost/stroke/llama-server:1", IMAGE),
        ("stroke/llama-server:1", IMAGE),
        (f"localhost/stroke/llama-server@{DIGEST}", IMAGE),
        ("localhost/stroke/llama-server", None),
        ("localhost/stroke/llama-server:2", None),
    ],
)
def test_images_are_found_in_the_store(fixed: Path, reference: str, image_id: str | None) -> None:
    (seen,) = look(fixed, {"kind": "image", "reference": reference})
    assert seen == {"exists": image_id is not None, "image_id": image_id}


@pytest.mark.parametrize(
    ("reference", "full"),
    [("a", "a:latest"), ("host:5000/a", "host:5000/a:latest"), ("h/a:1", "h/a:1"), ("a@x", "a@x")],
)
def test_a_reference_without_a_tag_means_latest(reference: str, full: str) -> None:
    assert stores.full_reference(reference) == full


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """A program that logs how it was called; the host is then the running machine."""
    calls = tmp_path / f"{name}.calls"
    program = write(tmp_path, f"/bin/{name}", f'#!/bin/sh\necho "$@" >> {calls}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return calls


def test_all_units_are_asked_in_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """cat <<X
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=generated

LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
X"""
    calls = fake(tmp_path, monkeypatch, "systemctl", script)
    wanted = [{"kind": "unit", "name": name} for name in ("b.service", "a.service", "b.service")]
    first, second, third = look(Path("/"), *wanted)
    running = {"active": True, "enabled": "generated", "masked": False, "sub": "running"}
    gone = {"active": False, "enabled": "", "masked": False, "sub": "dead"}
    assert second == {"exists": True, **running}
    assert first == third == {"exists": False, **gone}
    text = calls.read_text()
    assert text.count("\n") == 1
    assert text.endswith("-- a.service b.service\n")


def test_unit_without_systemd_is_unknown_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, "systemctl", "echo System has not been booted >&2; exit 1")
    host = Host(Path("/"))
    (seen,) = items.observe(host, [{"kind": "unit", "name": "a.service"}])
    assert seen == services.UNKNOWN
    assert host.unreadable == ["systemctl show: System has not been booted"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the system's image store belongs to root")
def test_podman_is_asked_once_and_only_for_what_the_store_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"localhost/x:1 localhost/x@{DIGEST} {IMAGE}"
    calls = fake(tmp_path, monkeypatch, "podman", f"echo '{line}'; echo '<none>:<none>'")
    write(tmp_path, "/overlay-images/images.json", json.dumps([{"id": "1f", "names": ["h/y:1"]}]))
    monkeypatch.setattr(stores, "PODMAN", str(tmp_path))
    assert look(Path("/"), {"kind": "image", "reference": "h/y:1"}) == [
        {"exists": True, "image_id": "sha256:1f"}
    ]
    assert not calls.exists()
    first, second = look(
        Path("/"),
        {"kind": "image", "reference": "x:1"},
        {"kind": "image", "reference": "nosuch"},
    )
    assert (first["image_id"], second["exists"]) == (IMAGE, False)
    assert calls.read_text().count("\n") == 1


def test_items_that_make_no_sense_cost_only_themselves(fixed: Path) -> None:
    host = Host(fixed)
    wanted: list[dict[str, Any]] = [
        {"kind": "dance"}, {"kind": "file"}, {}, {"kind": "file", "path": "/x\0y"},
        {"kind": "image"}, {"kind": "unit", "name": None}, {"kind": "package", "name": "podman"},
    ]  # fmt: skip
    seen = items.observe(host, wanted)
    assert seen[0] == seen[1] == seen[2] == {}
    assert seen[3]["exists"] is None
    assert seen[-1]["version"] == "5.4.2+ds1-2+b1"
    assert any("'dance' cannot be observed" in line for line in host.unreadable)


def test_role_observes_without_sending_contents(tmp_path: Path) -> None:
    """The whole way: manifest, module on the host, comparison on the controller."""
    root = tree("strix-halo-debian13-fixed", tmp_path / "host")
    item = {"role": "r", "stage": "prepare", "kind": "file", "path": OWN, "reason": "because"}
    manifest = [{**item, "content": "secret {{ 1 + 1 }}\n"}, {**item, "state": "absent"}]
    extra = {"gpu_facts_items": manifest, "gpu_facts_root": str(root)}
    book = tmp_path / "book.yml"
    book.write_text(
        "- hosts: localhost\n"
        "  gather_facts: false\n"
        "  tasks:\n"
        "    - ansible.builtin.import_role: {name: gpu_facts, tasks_from: observe}\n"
        "    - ansible.builtin.copy:\n"
        '        content: "{{ gpu_facts_items | manifest_changes(gpu_facts_observed)'
        ' | to_json }}"\n'
        f"        dest: {tmp_path}/changes.json\n"
        "        mode: '0644'\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-vvv", "-i", "localhost,", "-c", "local",
         "-e", json.dumps(extra), "-e", f"ansible_python_interpreter={sys.executable}", str(book)],
        env={**os.environ, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "LC_ALL": "C.UTF-8",
             "ANSIBLE_FILTER_PLUGINS": str(ROOT / "roles/host_profile/filter_plugins"),
             "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp")},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    observation = done.stdout.split("TASK [gpu_facts : Observe")[1].split("TASK [")[0]
    assert "secret" not in observation
    changes = json.loads((tmp_path / "changes.json").read_text())
    assert [change["action"] for change in changes] == ["change", "remove"]
