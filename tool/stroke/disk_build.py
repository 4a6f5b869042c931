"""Make a base disk in the directory given: the part of the work that needs root over its files.

Runs as a program of its own, inside the namespace that `namespace.as_root` gives.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from stroke import gpt
from stroke.disk import MIB, SECTOR, BaseDisk, boot_sector, partition_table
from stroke.errors import StrokeError
from stroke.guest_recipe import (
    ADMIN,
    BOOT_LABEL,
    DPKG_OPTIONS,
    ESP_LABEL,
    ESP_MIB,
    ROOT_LABEL,
    Recipe,
)
from stroke.host_apt import Archive
from stroke.process import run

_ROOT_MIB = 2560  # as built; the guest grows it to its overlay's size at the first boot
# GRUB reads the file system, so no feature newer than what every release's GRUB knows.
_EXT4 = (
    "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,"
    "sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum"
)
_GRUB_MODULES = ("ext2", "search", "search_label", "normal", "configfile")
_GRUB_DISK = {"i386-pc": ("biosdisk", "part_msdos"), "x86_64-efi": ("part_gpt", "fat")}


def recipe_from(data: dict[str, Any]) -> Recipe:
    """Read back what `dataclasses.asdict` and JSON made of a recipe."""
    archive: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data["archive"].items()
    }
    archive["certificates"] = tuple(Path(path) for path in archive["certificates"])
    return Recipe(**{**data, "archive": Archive(**archive)})


def build(recipe: Recipe, disk: BaseDisk) -> None:
    """Install the packages, configure the system, and lay it out on a disk."""
    root = disk.directory / "root"
    with tempfile.NamedTemporaryFile("w", suffix=".list") as sources:
        sources.write(recipe.archive.one_line_sources(recipe.release))
        sources.flush()
        # fmt: off
        run([
            "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase", "--quiet",
            "--aptopt=APT::Install-Recommends \"false\"",
            *(f"--aptopt={setting.rstrip(';')}" for setting in recipe.archive.settings),
            *(f"--dpkgopt={option}" for option in DPKG_OPTIONS),
            f"--include={','.join(recipe.packages)}",
            recipe.release, root, sources.name,
        ])
        # fmt: on
    try:
        _configure(recipe, root)
        if not recipe.esp:
            _install_grub(recipe, root, "i386-pc")
            _assemble(recipe, root, disk)
            return
        esp = disk.directory / "esp"
        if recipe.grub:
            _install_grub_efi(recipe, root, esp)
        else:
            _install_systemd_boot(root, esp)
        _assemble_with_esp(root, disk)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _configure(recipe: Recipe, root: Path) -> None:
    for stale in (*(root / "etc/apt/sources.list.d").iterdir(),
                  root / "etc/apt/apt.conf.d/99mmdebstrap",
                  *(root / "etc/ssh").glob("ssh_host_*")):  # fmt: skip
        stale.unlink(missing_ok=True)
    for path, (content, mode) in recipe.files().items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_text(content, encoding="utf-8")
        target.chmod(mode)
    for certificate in recipe.archive.certificates:
        shutil.copy(certificate, root / "usr/local/share/ca-certificates")

    def inside(*command: str) -> None:
        run(["chroot", root, *command], env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    if not recipe.cloud_init:
        inside("useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", ADMIN)
        inside("usermod", "--password", "*", ADMIN)  # a key only; "!" would refuse that as well
    # They would take the package lock at a moment of their own choosing.
    inside("systemctl", "disable", "apt-daily.timer", "apt-daily-upgrade.timer")
    inside("systemctl", "enable", "systemd-networkd.service")
    if not recipe.cloud_init:
        inside("systemctl", "enable", "sandbox-seed.service")
    if recipe.archive.certificates:
        inside("update-ca-certificates")


def _inside(root: Path, *command: str, **environment: str) -> None:
    run(["chroot", root, *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment})  # fmt: skip


def _install_grub(recipe: Recipe, root: Path, target: str) -> Path:
    """GRUB's modules where they are looked for, and its core image, which is returned."""
    grub = root / "boot/grub" / target
    grub.mkdir(parents=True)
    for module in (root / "usr/lib/grub" / target).iterdir():
        if module.suffix in (".mod", ".lst", ".img"):
            shutil.copy(module, grub)
    label, prefix = (BOOT_LABEL, "") if recipe.boot_mib else (ROOT_LABEL, "/boot")
    (grub / "load.cfg").write_text(
        f"search --label {label} --set root\nset prefix=($root){prefix}/grub\n"
    )
    core, config = (f"/boot/grub/{target}/{name}" for name in ("core.img", "load.cfg"))
    _inside(root, "grub-mkimage", f"--format={target}", f"--output={core}", f"--config={config}",
            f"--prefix={prefix}/grub", *_GRUB_DISK[target], *_GRUB_MODULES)  # fmt: skip
    return grub / "core.img"


def _install_grub_efi(recipe: Recipe, root: Path, esp: Path) -> None:
    """GRUB at the path that firmware starts where it has no entry of its own."""
    program = esp / "EFI/BOOT/BOOTX64.EFI"
    program.parent.mkdir(parents=True)
    shutil.copy(_install_grub(recipe, root, "x86_64-efi"), program)
    (root / "boot/efi").mkdir(mode=0o700)


def _install_systemd_boot(root: Path, esp: Path) -> None:
    """Debian's own tools fill the ESP, and take a mounted directory for one while they are told to.

    Mounts end with the namespace that this program runs in.
    """
    mounted = root / "boot/efi"
    mounted.mkdir(mode=0o700)
    run(["mount", "-t", "tmpfs", "-o", "mode=0700", "tmpfs", mounted])
    run(["mount", "--rbind", "/proc", root / "proc"])
    try:
        # Entries are named after the distribution: the guest has no machine id before it boots.
        _inside(root, "bootctl", "install", "--no-variables", "--esp-path=/boot/efi",
                "--entry-token=os-id", "--random-seed=no",
                SYSTEMD_RELAX_ESP_CHECKS="1")  # fmt: skip
        _install_kernel(root)
        (mounted / "loader/loader.conf").write_text("timeout 1\n", encoding="utf-8")
        shutil.copytree(mounted, esp)
    finally:
        run(["umount", "--lazy", mounted], check=False)
        run(["umount", "--lazy", root / "proc"], check=False)


def _install_kernel(root: Path) -> None:
    """An entry by kernel-install, which is given the place that it cannot recognise here."""
    settings = root / "run/kernel-install"
    settings.mkdir()
    (settings / "install.conf").write_text("layout=bls\nBOOT_ROOT=/boot/efi\n", encoding="utf-8")
    for name in ("cmdline", "entry-token"):
        shutil.copy(root / "etc/kernel" / name, settings)
    token = (settings / "entry-token").read_text(encoding="utf-8").strip()
    (root / "boot/efi" / token).mkdir()
    kernel = _only(root, "boot/vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")
    _inside(root, "kernel-install", "add", version, f"/boot/{kernel.name}",
            f"/boot/initrd.img-{version}",
            KERNEL_INSTALL_CONF_ROOT="/run/kernel-install")  # fmt: skip
    shutil.rmtree(settings)


def _assemble_with_esp(root: Path, disk: BaseDisk) -> None:
    shutil.copy(_only(root, "boot/vmlinuz-*"), disk.kernel)
    shutil.copy(_only(root, "boot/initrd.img-*"), disk.initrd)
    disk_mib = 2 + ESP_MIB + _ROOT_MIB
    esp, system = gpt.partitions(disk_mib, ESP_MIB)
    head, tail = gpt.tables(disk_mib, [esp, system])
    with disk.image.open("wb") as handle:
        handle.write(head)
        handle.truncate(disk_mib * MIB)
        handle.seek(-len(tail), 2)
        handle.write(tail)
    tree = disk.directory / "esp"
    # fmt: off
    run([
        "mkfs.vfat", "-F", "32", "-n", ESP_LABEL, f"--offset={esp.start}", disk.image,
        str(esp.length // 2),
    ])
    run(["mcopy", "-s", "-i", f"{disk.image}@@{esp.start * SECTOR}", *sorted(tree.iterdir()), "::"])
    run([
        "mke2fs", "-q", "-F", "-t", "ext4", "-O", _EXT4, "-m", "1", "-L", ROOT_LABEL, "-d", root,
        "-E", f"offset={system.start * SECTOR}", disk.image, f"{system.length // 2}k",
    ])
    # fmt: on
    shutil.rmtree(tree)


def _assemble(recipe: Recipe, root: Path, disk: BaseDisk) -> None:
    shutil.copy(_only(root, "boot/vmlinuz-*"), disk.kernel)
    shutil.copy(_only(root, "boot/initrd.img-*"), disk.initrd)
    code = (root / "boot/grub/i386-pc/boot.img").read_bytes()
    core = (root / "boot/grub/i386-pc/core.img").read_bytes()
    disk_mib = 1 + (recipe.boot_mib or 0) + _ROOT_MIB
    table = partition_table(disk_mib, recipe.boot_mib)
    with disk.image.open("wb") as handle:
        # boot.img looks for the core image in the very next sector: its default, nothing to patch.
        handle.write(boot_sector(code, table) + core)
        handle.truncate(disk_mib * MIB)
    trees = [(ROOT_LABEL, root)]
    if recipe.boot_mib:
        boot = disk.directory / "boot"
        (root / "boot").rename(boot)
        (root / "boot").mkdir(mode=0o755)
        trees.insert(0, (BOOT_LABEL, boot))
    for (label, tree), (start, length) in zip(trees, table, strict=True):
        # fmt: off
        run([
            "mke2fs", "-q", "-F", "-t", "ext4", "-O", _EXT4, "-m", "1", "-L", label, "-d", tree,
            "-E", f"offset={start * SECTOR}", disk.image, f"{length // 2}k",
        ])
        # fmt: on
    shutil.rmtree(disk.directory / "boot", ignore_errors=True)


def _only(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if len(found) != 1:
        raise StrokeError(f"expected one {pattern} in the new system, found {len(found)}",
                          code="STK-704")  # fmt: skip
    return found[0]


def main() -> int:
    """Build what standard input describes; the reason of a failure goes to standard error."""
    order = json.load(sys.stdin)
    try:
        build(recipe_from(order["recipe"]), BaseDisk(Path(order["directory"])))
    except StrokeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
