"""Hosts on which nothing may be tried, because every start of them waits or is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.guard_host import CODE_OF, OLD, STOCK, Host, grub_surroundings

passphrase, probe = CODE_OF["passphrase"], CODE_OF["probe"]
LUKS = "CRYPT-LUKS2-8d3f-sda3_crypt\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default of installers: / is a logical volume of a group on the encrypted sda3."""
    monkeypatch.setattr(passphrase, "_header", lambda device: "Tokens:\nKeyslots:\n  0: luks2\n")
    volume(tmp_path, "dm-0", "sda3_crypt", LUKS, "sda3")
    volume(tmp_path, "dm-1", "vg-root", "LVM-abc\n", "dm-0")
    (tmp_path / "dev/mapper").mkdir(parents=True)
    (tmp_path / "dev/dm-1").touch()
    (tmp_path / "dev/mapper/vg-root").symlink_to("../dm-1")
    (tmp_path / "proc/self").mkdir(parents=True)
    mounts = "/dev/mapper/vg-root / ext4 rw 0 0\n/dev/sda2 /boot ext4 rw 0 0\n"
    (tmp_path / "proc/self/mounts").write_text(mounts)
    (tmp_path / "etc").mkdir()
    return tmp_path


def volume(root: Path, block: str, name: str, uuid: str, below: str) -> None:
    place = root / "sys/class/block" / block
    (place / "dm").mkdir(parents=True)
    (place / "dm/name").write_text(f"{name}\n")
    (place / "dm/uuid").write_text(uuid)
    (place / "slaves" / below).mkdir(parents=True)


@pytest.mark.parametrize(
    ("line", "asks"),
    [
        ("sda3_crypt UUID=1 none luks,discard", True),
        ("sda3_crypt UUID=1 - luks", True),
        ("sda3_crypt UUID=1", True),
        ("# sda3_crypt UUID=1 /etc/keys/root.key luks", True),
        ("", True),  # rd.luks.uuid= needs no line
        ("sda3_crypt UUID=1 none luks,nofail", True),  # / does not come without it
        ("sda3_crypt UUID=1 askpass luks,keyscript=decrypt_keyctl", True),
        ("sda3_crypt UUID=1 /etc/keys/root.key luks", False),
        ("sda3_crypt UUID=1 none luks,tpm2-device=auto", False),
    ],
)
def test_a_root_that_wants_a_passphrase_is_no_host_for_a_trial(
    root: Path, line: str, asks: bool
) -> None:
    (root / "etc/crypttab").write_text(f"{line}\n")
    assert passphrase.needed(root) == (["sda3_crypt"] if asks else [])


@pytest.mark.parametrize("token", ["clevis", "systemd-tpm2"])
def test_a_volume_that_its_own_header_opens_asks_nobody(
    root: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"/dev/sda3": f"Tokens:\n  0: {token}\n"}
    monkeypatch.setattr(passphrase, "_header", headers.__getitem__)
    assert passphrase.needed(root) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("data UUID=2 none luks", ["data"]),
        ("data UUID=2 none luks,nofail", []),
        ("data UUID=2 none luks,noauto", []),
        ("data UUID=2 /dev/urandom swap", []),
        ("", []),  # somebody has opened it by hand
    ],
)
def test_other_volumes_count_where_a_start_waits_for_them(
    root: Path, line: str, found: list[str]
) -> None:
    (root / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw 0 0\n")
    volume(root, "dm-2", "data", "CRYPT-LUKS2-1-data\n", "sdb1")
    (root / "etc/crypttab").write_text(f"{line}\n")
    assert passphrase.needed(root) == found


def test_the_plan_names_what_a_start_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grub_surroundings(monkeypatch, {"failing": [], "wrong": []}, {"route": True, "login": []})
    host = Host(tmp_path / "host")
    assert probe.obstacles(host.root, OLD, STOCK) == []
    volume(host.root, "dm-0", "home", "CRYPT-LUKS2-1-home\n", "sdb1")
    (host.root / "etc/crypttab").write_text("home UUID=2 none luks\n")
    monkeypatch.setattr(passphrase, "_header", lambda device: "")
    assert probe.obstacles(host.root, OLD, STOCK) == [
        "every start of it waits for the passphrase of home"
    ]
    (host.root / "etc/crypttab").unlink()
    (host.root / "proc/sys/crypto").mkdir(parents=True)
    (host.root / "proc/sys/crypto/fips_enabled").write_text("1\n")
    (why,) = probe.obstacles(host.root, OLD, STOCK)
    assert "FIPS" in why
    with pytest.raises(CODE_OF["guard"].Refused, match="FIPS"):
        host.guard.hold({})
