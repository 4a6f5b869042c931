"""The boot transaction where GRUB's menu is made of boot entries: Fedora and RHEL."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_host import system
from gpu_host.files import Host as Files

from tests.unit.bls_host import (
    EL9_UPGRADED,
    FEDORA43,
    KINDS,
    MACHINE,
    STUB,
    UUID,
    WORDS,
    BlsHost,
    Kind,
)
from tests.unit.guard_host import (
    CODE_OF,
    ORDER,
    SMALLEST,
    booted,
    confirm,
    cut_off,
    hold,
    surroundings,
    watch,
)
from tests.unit.plugins import ROLES, plugin

probe = CODE_OF["probe"]
plans = plugin("boot_guard", "boot_guard")
STATE = "var/lib/stroke/boot_guard/state.json"
PERMANENT = "root=UUID=abc ro console=ttyS0 audit=0 rhgb quiet amd_iommu=off ttm.pages_limit=5"
ANSWERS = {"abstraction": "", "fs": "ext2", "fs_uuid": UUID}
CHECKER = shutil.which("grub-script-check")
Step = Callable[[BlsHost], object]


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What the guard would ask of a running system; `labelled` has what got an SELinux type."""
    told: dict[str, list[Any]] = {"failing": [], "wrong": [], "labelled": []}
    monkeypatch.setattr(probe, "grub_probe", lambda target, grub: ANSWERS[target])
    monkeypatch.setattr(CODE_OF["units"], "label", lambda *paths: told["labelled"].extend(paths))

    def never() -> None:
        raise AssertionError("grub2-mkconfig would write arguments into every entry")

    monkeypatch.setattr(CODE_OF["units"], "make_menu", never)
    surroundings(monkeypatch, told, {"route": True, "login": []})
    return told


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
def host(request: pytest.FixtureRequest, tmp_path: Path) -> BlsHost:
    return BlsHost(tmp_path / "host", request.param)


def arm(host: BlsHost) -> None:
    host.add(host.kind.new)
    host.guard.arm({**ORDER, "release": host.kind.new})


def commit(host: BlsHost) -> None:
    host.arguments(PERMANENT)
    host.guard.commit({})


def left(host: BlsHost) -> list[str]:
    paths = (path.relative_to(host.root) for path in host.root.rglob("*") if path.is_file())
    return sorted(str(path) for path in paths if "stroke" in str(path) or path.name == "custom.cfg")


def found(host: BlsHost) -> list[str]:
    return list(probe.obstacles(host.root, host.kind.old, WORDS))


def test_a_host_as_its_installer_leaves_it_is_guarded(host: BlsHost) -> None:
    assert found(host) == []
    seen = probe.probe(host.root)
    assert (seen["obstacles"], seen["open"], seen["leftover"]) == ([], False, False)
    assert seen["copies_bytes"] == probe.SPARE + 4 * SMALLEST, "kernel and initramfs"
    assert plans.boot_mode(seen, False) == "guarded"


def test_a_trial_whose_initramfs_finds_no_root_comes_back_in_time() -> None:
    """dracut has its own words for that; it wants to wait longer for disks than it retries."""
    catalog = yaml.safe_load((ROLES / "host_profile/files/catalog/boot.yml").read_text())
    always = [one["argument"] for one in catalog["boot_trial"] if one["when"] == "always"]
    assert {"panic=10", "rd.shell=0", "rd.emergency=reboot"} <= set(always)
    (wait,) = [int(one.partition("=")[2]) for one in always if one.startswith("rd.timeout=")]
    assert 180 < wait < 300, "longer than it retries, and soon enough for who waits"


def test_the_good_case_commits_and_leaves_the_state_only(host: BlsHost) -> None:
    entries = {path.name for path in (host.root / "boot/loader/entries").iterdir()}
    hold(host)
    assert host.boot() == "lkg"
    assert watch(host) == ""
    assert probe.probe(host.root)["open"] is True
    told = system.boot_transaction(Files(host.root))
    assert told is not None
    assert (told["phase"], told["running"], told["open"]) == ("held", "lkg", True)
    arm(host)
    assert (host.boot(), host.running, host.state["phase"]) == ("trial", host.kind.new, "armed")
    assert host.line.split()[1:] == [
        *PERMANENT.split(), "panic=10", "oops=panic", f"stroke.trial={host.state['transaction']}",
    ]  # fmt: skip
    assert watch(host) == "waiting"
    assert host.state["phase"] == "healthy"
    confirm(host)
    commit(host)
    assert host.state["phase"] == "committed"
    assert left(host) == [STATE]
    after = {path.name for path in (host.root / "boot/loader/entries").iterdir()}
    assert after == entries | {f"{MACHINE}-{host.kind.new}.conf"}
    assert (host.boot(), host.running) == ("stock", host.kind.new)
    assert host.line.split()[1:] == PERMANENT.split()
    assert watch(host) == ""


def test_a_trial_that_ends_without_a_word_is_reverted_once_and_for_good(host: BlsHost) -> None:
    hold(host)
    arm(host)
    assert [host.boot(), host.boot(), host.boot()] == ["trial", "lkg", "lkg"]
    assert (host.running, watch(host)) == (host.kind.old, "")
    assert host.state["phase"] == "reverted"
    assert "panic" in host.state["why"]
    hold(host)
    arm(host)
    assert [host.boot(), host.boot()] == ["trial", "lkg"]
    host.guard.abort({})
    assert left(host) == []
    assert (host.boot(), host.running) == ("stock", host.kind.new), (
        "the distribution's choice again"
    )


def test_grub_that_cannot_write_starts_the_good_system(host: BlsHost) -> None:
    hold(host)
    arm(host)
    assert [host.boot(grub_can_write=False) for _ in range(3)] == ["lkg", "lkg", "lkg"]


@pytest.mark.parametrize("name", ["vmlinuz-{}", "initramfs-{}.img"])
def test_a_kernel_that_cannot_be_loaded_is_left_at_once(host: BlsHost, name: str) -> None:
    hold(host)
    arm(host)
    (host.root / "boot" / name.format(host.kind.new)).unlink()
    assert (host.boot(), host.running) == ("lkg", host.kind.old)


@pytest.mark.parametrize(
    ("failing", "seconds", "why"),
    [
        (["there is no default route"], 301, "there is no default route"),
        ([], 901, "nobody confirmed it within 900 s"),
    ],
)
def test_the_guard_goes_back(
    host: BlsHost, world: dict[str, list[Any]], failing: list[str], seconds: float, why: str
) -> None:
    hold(host)
    arm(host)
    host.boot()
    world["failing"] = failing
    assert watch(host, 100) == "waiting"
    assert watch(host, seconds) == why
    assert host.boot() == "lkg"


def test_marks_that_the_distribution_keeps_in_grubenv_decide_nothing(host: BlsHost) -> None:
    """A login of two minutes sets boot_success; grub2-reboot sets next_entry."""
    hold(host)
    arm(host)
    marks = {"boot_success": "1", "next_entry": f"{MACHINE}-{host.kind.new}", "boot_counter": "-1"}
    host.environment(**{**host.known, **marks})
    assert [host.boot(), host.boot()] == ["trial", "lkg"]


@pytest.mark.parametrize("half", ["kernel", "initramfs"])
def test_half_a_kernel_is_not_tried(host: BlsHost, half: str) -> None:
    hold(host)
    host.add(host.kind.new)
    name = {"kernel": f"vmlinuz-{host.kind.new}", "initramfs": f"initramfs-{host.kind.new}.img"}
    (host.root / "boot" / name[half]).write_bytes(b"x")
    with pytest.raises(CODE_OF["guard"].Refused, match="too small") as refused:
        host.guard.arm({**ORDER, "release": host.kind.new})
    assert refused.value.code == "STK-501"
    assert host.boot() == "lkg"


def test_a_default_that_is_pinned_is_told_before_the_reboot(host: BlsHost) -> None:
    """DEFAULTKERNEL or UPDATEDEFAULT=no in /etc/sysconfig/kernel, or grubby --set-default."""
    hold(host)
    host.add(host.kind.new)
    host.environment(**{**host.known, "saved_entry": f"{MACHINE}-{host.kind.old}"})
    order = {**ORDER, "release": host.kind.new}
    with pytest.raises(CODE_OF["guard"].Refused, match="is the boot menu's default") as refused:
        host.guard.arm(order)
    assert refused.value.code == "STK-512"
    assert (host.boot(), host.running) == ("lkg", host.kind.old)
    host.guard.arm({**order, "chosen": True})
    assert (host.boot(), host.running) == ("trial", host.kind.new)


def test_a_chosen_release_without_an_entry_is_not_tried(host: BlsHost) -> None:
    hold(host)
    host.install("6.1.9")
    with pytest.raises(CODE_OF["guard"].Refused, match=r"no entry of its own for vmlinuz-6\.1\.9"):
        host.guard.arm({**ORDER, "release": "6.1.9", "chosen": True})


@pytest.mark.parametrize("words", [WORDS, f"{PERMANENT} late", "root=/dev/sdb1 ro"])
def test_another_default_entry_is_not_committed(host: BlsHost, words: str) -> None:
    hold(host)
    arm(host)
    booted(host)
    confirm(host)
    host.arguments(words)
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        host.guard.commit({})
    assert refused.value.code == "STK-512"
    assert host.boot() == "lkg"


def test_what_was_written_to_boot_has_the_type_of_its_place(
    host: BlsHost, world: dict[str, list[Any]]
) -> None:
    """Not the modules that are kept as links: with a type of /var they could not be loaded."""
    hold(host)
    places = [str(path.relative_to(host.root)) for path in world["labelled"]]
    assert places == [
        "etc/systemd/system/stroke-boot-guard.service", "boot/stroke", "boot/grub2/custom.cfg",
    ]  # fmt: skip


@pytest.mark.skipif(CHECKER is None, reason="grub-script-check is not installed (grub-common)")
def test_grubs_own_checker_takes_the_menu(host: BlsHost) -> None:
    hold(host)
    arm(host)
    custom = (host.root / "boot/grub2/custom.cfg").read_text()
    done = subprocess.run([str(CHECKER)], input=custom, text=True, check=False)
    assert done.returncode == 0
    folder = "" if host.kind.apart else "/boot"
    assert f"'{folder}/initramfs-{host.kind.new}.img'" in custom
    assert f"'{folder}/stroke/initrd.img'" in custom


def test_fedoras_checker_is_asked(host: BlsHost, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        assert command == ["grub2-script-check"]
        return subprocess.CompletedProcess(command, 1, "", "syntax error")

    monkeypatch.setattr(subprocess, "run", check)
    with pytest.raises(CODE_OF["guard"].Refused, match="does not take its menu: syntax error"):
        hold(host)
    assert host.boot() == "stock"


def prepared(steps: list[Step], root: Path, kind: Kind) -> BlsHost:
    host = BlsHost(root, kind)
    for step in steps:
        step(host)
    return host


# What has happened before, the command whose power is cut, and the systems that may start then.
CUTS: list[tuple[str, list[Step], Step, set[str]]] = [
    ("hold", [], hold, {"stock", "lkg"}),
    ("hold again", [hold, arm, booted, booted], hold, {"lkg"}),
    ("arm", [hold], arm, {"lkg", "trial"}),
    ("judge", [hold, arm, lambda host: host.boot()], watch, {"lkg"}),
    ("confirm", [hold, arm, booted], confirm, {"lkg"}),
    ("commit", [hold, arm, booted, confirm], commit, {"lkg", "stock"}),
]  # fmt: skip


@pytest.mark.parametrize("kind", [FEDORA43, EL9_UPGRADED], ids=["entries", "kernelopts"])
@pytest.mark.parametrize(("name", "before", "step", "allowed"), CUTS, ids=[c[0] for c in CUTS])
def test_power_cut_at_every_write(
    name: str, before: list[Step], step: Step, allowed: set[str], kind: Kind, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A system that was tried starts, later boots agree, and the next run ends in a commit."""
    cuts = 0
    for cuts, host in cut_off(
        lambda place: prepared(before, place, kind), step, tmp_path, monkeypatch
    ):
        started = host.boot()
        assert started in allowed, (cuts, host.state)
        if name == "hold" and started == "stock":
            assert host.running == kind.old
        if name == "commit" and started == "stock":
            assert (host.running, host.boot()) == (kind.new, "stock")
            assert host.line.split()[1:] == PERMANENT.split()
        if started == "trial":
            assert watch(host) == "waiting"
            assert host.boot() == "lkg"  # the next cut: a trial is never started twice
        watch(host)
        assert host.state.get("phase") in (
            None, "held", "reverted", "committed", "healthy", "confirmed"), host.state  # fmt: skip
        if started == "stock" and host.running == kind.new:
            host.guard.commit({})
        else:
            for next_step in (hold, arm, booted, confirm, commit):
                next_step(host)
        assert left(host) == [STATE], cuts
        assert (host.boot(), host.running) == ("stock", kind.new)
    assert cuts >= {"confirm": 2, "judge": 2}.get(name, 6), "the cuts did not reach the writes"


def write(path: str, text: str) -> Step:
    def step(host: BlsHost) -> None:
        (host.root / path).parent.mkdir(parents=True, exist_ok=True)
        (host.root / path).write_text(text)

    return step


def edit(path: str, old: str, new: str) -> Step:
    def step(host: BlsHost) -> None:
        text = (host.root / path).read_text()
        assert old in text
        (host.root / path).write_text(text.replace(old, new))

    return step


def linked(host: BlsHost) -> None:
    """As RHEL 8 with UEFI has it."""
    target = host.root / "boot/efi/EFI/fedora/grubenv"
    (host.root / "boot/grub2/grubenv").rename(target)
    (host.root / "boot/grub2/grubenv").symlink_to("../efi/EFI/fedora/grubenv")


CONFIG = "boot/grub2/grub.cfg"
BEGINNING = "boot/efi/EFI/fedora/grub.cfg"
OLD_ENTRY = f"boot/loader/entries/{MACHINE}-{FEDORA43.old}.conf"
OBSTACLES: dict[str, tuple[Step, str]] = {
    "ostree": (write("run/ostree-booted", ""), "ostree manages it"),
    "no entries": (edit(CONFIG, "\nblscfg\n", "\n"), "does not make its menu of boot entries"),
    "no entries soon": (write("etc/default/grub", "GRUB_ENABLE_BLSCFG=false\n"),
                        "does not make its menu of boot entries"),
    "no custom.cfg": (edit(CONFIG, "custom.cfg", "other.cfg"), "41_custom is missing"),
    "custom.cfg": (write("boot/grub2/custom.cfg", "menuentry mine { true }\n"),
                   "/boot/grub2/custom.cfg is somebody else's"),
    "folder": (write("proc/self/mounts", "/dev/a / xfs rw 0 0\n/dev/b /boot ext4 rw 0 0\n"
                     "/dev/c /boot/grub2 ext4 rw 0 0\n"), "/boot/grub2 is on another file system"),
    "journal": (write("proc/self/mounts",
                      "/dev/a / xfs rw 0 0\n/dev/b /boot ext4 rw,data=journal 0 0\n"),
                "journal of /boot/grub2 has data"),
    "blsdir": (edit(CONFIG, "insmod blscfg", 'set blsdir="/root/boot/loader/entries"'),
               "its boot entries are in /root/boot/loader/entries"),
    "system partition": (write("boot/efi/loader/entries/other.conf", "title x\nlinux /x\n"),
                         "takes boot entries from /boot/efi, too"),
    "boot_counter": (lambda host: host.environment(**host.known, boot_counter="2"), "boot_counter"),
    "grubenv": (linked, "/boot/grub2/grubenv is a link"),
    "menu elsewhere": (write(BEGINNING, "load_env\nblscfg\n"),
                       "GRUB has its boot menu in /boot/efi/EFI/fedora/grub.cfg"),
    "another system's": (write(BEGINNING, STUB.replace(UUID, "5678-ef01")),
                         "leads GRUB to /boot/grub2/grub.cfg"),
    "no beginning": (lambda host: (host.root / BEGINNING).unlink(),
                     "leads GRUB to /boot/grub2/grub.cfg"),
    "initramfs": (edit(OLD_ENTRY, ".img\n", ".img /extra.img\n"), "and extra.img"),
    "early initramfs": (lambda host: host.environment(**host.known, early_initrd="ucode.img"),
                        "with ucode.img and"),
    "no kernel": (lambda host: (host.root / f"boot/vmlinuz-{FEDORA43.old}").unlink(), "is missing"),
    "no initramfs": (lambda host: (host.root / f"boot/initramfs-{FEDORA43.old}.img").unlink(),
                     f"/boot/initramfs-{FEDORA43.old}.img of the running kernel is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("step", "why"), OBSTACLES.values(), ids=OBSTACLES.keys())
def test_what_keeps_a_host_from_coming_back_is_named(tmp_path: Path, step: Step, why: str) -> None:
    host = BlsHost(tmp_path / "host")
    assert found(host) == []
    step(host)
    (one,) = found(host)
    assert why in one
    with pytest.raises(CODE_OF["guard"].Refused) as refused:
        hold(host)
    assert refused.value.code == "STK-420"
    assert "boot/stroke" not in " ".join(left(host))


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({"abstraction": "lvm"}, "cannot write to /boot/grub2, which is on lvm"),
        ({"abstraction": "diskfilter mdraid1x"}, "mdraid1x"),
        ({"fs": "btrfs"}, "cannot write to /boot/grub2, which is btrfs"),
        ({"fs": "?"}, "grub2-probe cannot tell where /boot/grub2 is"),
    ],
)
def test_a_place_that_grub_cannot_write_to_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: dict[str, str], why: str
) -> None:
    host = BlsHost(tmp_path / "host")
    monkeypatch.setattr(probe, "grub_probe", lambda target, grub: {**ANSWERS, **answers}[target])
    (one,) = found(host)
    assert why in one


def test_grubs_tools_have_the_names_of_the_family(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "ext2\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    family = CODE_OF["family"]
    assert probe.grub_probe("fs", family.of(BlsHost(tmp_path / "host").root)) == "ext2"
    probe.grub_probe("fs", family.DEBIAN)
    assert asked == [["grub2-probe", "--target=fs", "/boot/grub2"],
                     ["grub-probe", "--target=fs", "/boot/grub"]]  # fmt: skip


def test_a_link_from_grub_to_grub2_is_fedoras(tmp_path: Path) -> None:
    host = BlsHost(tmp_path / "host")
    (host.root / "boot/grub").symlink_to("grub2")
    assert CODE_OF["family"].of(host.root) == CODE_OF["family"].FEDORA
    assert found(host) == []
