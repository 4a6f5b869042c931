"""What is in the sandbox's base disk: packages and files, as data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from stroke.host_apt import Archive

RELEASES = {"bookworm": "12", "trixie": "13", "forky": "testing"}
ADMIN = "admin"
ROOT_LABEL = "stroke-root"
BOOT_LABEL = "stroke-boot"
ESP_LABEL = "STROKE-ESP"  # FAT knows eleven capital letters
BOOT_LOADERS = ("grub", "grub-efi", "systemd-boot")
UEFI = ("grub-efi", "systemd-boot")
# Two kernels, each with the initramfs of every driver that the first one has before it is sealed.
ESP_MIB = 512
SEED_SERIAL = "stroke-seed"
# Arguments that an administrator may well have set; nothing that stroke does may lose them.
ADMIN_ARGUMENTS = "console=tty0 console=ttyS0,115200 net.ifnames=0 audit=0 mitigations=off"

# A stock Debian server without documentation: no firmware and no container runtime.
_SYSTEM = (
    *("linux-image-amd64", "initramfs-tools", "zstd", "e2fsprogs", "kmod"),
    *("systemd-sysv", "udev", "dbus", "libpam-systemd"),
)
_LOGIN = ("openssh-server", "sudo", "python3", "iproute2", "ca-certificates")
# grub2-common has update-grub; images are made of what the -bin package has, without an installer.
LOADER_PACKAGES = {
    "grub": ("grub-pc-bin", "grub2-common"),
    "grub-efi": ("grub-efi-amd64-bin", "grub2-common", "dosfstools"),
    "systemd-boot": ("systemd-boot", "dosfstools"),
}
# A guest lives for minutes: its disk need not survive a power failure of the host, and
# documentation doubles the time that dpkg takes.
DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*",
)

_FSTAB = f"LABEL={ROOT_LABEL} / ext4 errors=remount-ro,x-systemd.growfs 0 1\n"
_FSTAB_BOOT = f"LABEL={BOOT_LABEL} /boot ext4 defaults 0 2\n"

_FSTAB_ESP = f"LABEL={ESP_LABEL} /boot/efi vfat umask=0077 0 1\n"

# As an installer leaves it: kernel-install puts this line into the entry of every kernel.
_KERNEL_CMDLINE = f"root=LABEL={ROOT_LABEL} ro {ADMIN_ARGUMENTS} quiet\n"

_GRUB_DEFAULT = f"""\
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=`( . /etc/os-release && echo ${{NAME}} )`
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="{ADMIN_ARGUMENTS}"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
"""

_NETWORK = "[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n"

# The guest's own name and keys come on a second disk, which is simply a tar archive: that needs
# neither root nor loop devices on the machine that makes it. The kernel names the disk's serial, so
# udev, slow on an emulated processor, need not have found it yet.
_SEED_SCRIPT = f"""\
#!/bin/sh
set -e
for disk in /sys/block/vd*; do
    if [ "$(cat "$disk/serial")" = {SEED_SERIAL} ]; then
        tar --extract --file="/dev/${{disk##*/}}" --directory=/
        exec hostname --file /etc/hostname
    fi
done
echo "no seed disk" >&2
exit 1
"""

_SEED_UNIT = """\
[Unit]
Description=Take name and keys of this sandbox from its seed disk
DefaultDependencies=no
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
After=systemd-remount-fs.service
Before=sysinit.target ssh.service sshd.service systemd-networkd.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/sandbox-seed

[Install]
WantedBy=sysinit.target
"""

# An emulated processor is ten times slower than the one that the defaults were chosen for.
_PATIENCE = "[Manager]\nDefaultTimeoutStartSec=300s\nDefaultDeviceTimeoutSec=600s\n"
_INITRAMFS = "COMPRESSLEVEL=1\n"

# Runs once as init while the disk is built: only inside a booted kernel does update-grub see the
# disk as the guest will, and a base disk that cannot boot is found out here.
SEAL = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --all
# As the installer's "only the drivers this machine needs": every initramfs is built twice by a \
kernel
# installation, and all drivers take minutes each on an emulated processor.
echo MODULES=dep >/etc/initramfs-tools/conf.d/driver-policy
update-grub >/dev/console 2>&1 && grub-editenv /boot/grub/grubenv create \\
    && rm -f /sbin/stroke-seal && echo stroke-sealed >/dev/console
sync
umount /boot /boot/efi 2>/dev/null
mount -o remount,ro /
reboot -ff
"""


# The entries of systemd-boot are made with the disk: what is left is to see that it boots.
SEAL_SYSTEMD_BOOT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount --all
echo MODULES=dep >/etc/initramfs-tools/conf.d/driver-policy
ls /boot/efi/loader/entries/*.conf >/dev/console 2>&1 \\
    && rm -f /sbin/stroke-seal && echo stroke-sealed >/dev/console
sync
umount /boot/efi 2>/dev/null
mount -o remount,ro /
reboot -ff
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a base disk, so that its hash can name it."""

    release: str
    archive: Archive
    boot_mib: int | None = None
    cloud_init: bool = False
    # Not a part of the name in the cache: packages and files, which are, follow from it.
    boot_loader: str = field(default="grub", repr=False)

    @property
    def packages(self) -> tuple[str, ...]:
        """The package list; cloud-init only in the disk that stands in for a cloud image."""
        more = ("cloud-init",) if self.cloud_init else ()
        return (*_SYSTEM, *LOADER_PACKAGES[self.boot_loader], *_LOGIN, *more)

    @property
    def esp(self) -> bool:
        """Whether the disk has an EFI system partition, and with it a GUID partition table."""
        return self.boot_loader in UEFI

    @property
    def grub(self) -> bool:
        """Whether GRUB starts the guest, by BIOS or by UEFI."""
        return self.boot_loader != "systemd-boot"

    @property
    def root_device(self) -> str:
        """The root partition, for a kernel that is started without the boot loader."""
        return "/dev/vda2" if self.boot_mib or self.esp else "/dev/vda1"

    @property
    def name(self) -> str:
        """The name of the disk in the cache."""
        digest = hashlib.sha256(
            repr((self, self.packages, DPKG_OPTIONS, sorted(self.files().items()))).encode()
        )
        return f"{self.release}-{digest.hexdigest()[:12]}"

    def files(self) -> dict[str, tuple[str, int]]:
        """Files of the guest by path, with content and mode."""
        files = {
            "etc/hostname": ("stroke-sandbox\n", 0o644),
            "etc/hosts": ("127.0.0.1 localhost\n::1 localhost\n", 0o644),
            "etc/resolv.conf": ("nameserver 10.0.2.3\n", 0o644),
            "etc/machine-id": ("", 0o444),
            "etc/fstab": (
                _FSTAB + (_FSTAB_BOOT if self.boot_mib else "") + (_FSTAB_ESP if self.esp else ""),
                0o644,
            ),
            "etc/initramfs-tools/conf.d/sandbox": (_INITRAMFS, 0o644),
            "etc/systemd/system.conf.d/50-sandbox.conf": (_PATIENCE, 0o644),
            "etc/systemd/network/20-dhcp.network": (_NETWORK, 0o644),
            "etc/apt/sources.list.d/debian.sources": (
                self.archive.deb822_sources(self.release),
                0o644,
            ),
            "sbin/stroke-seal": (SEAL if self.grub else SEAL_SYSTEMD_BOOT, 0o755),
        }
        if self.grub:
            files["etc/default/grub"] = (_GRUB_DEFAULT, 0o644)
        else:
            files["etc/kernel/cmdline"] = (_KERNEL_CMDLINE, 0o644)
        # Translated descriptions double what `apt-get update` reads; nothing here shows them.
        options = self.archive.apt_options() + 'Acquire::Languages "none";\n'
        files["etc/apt/apt.conf.d/90sandbox"] = (options, 0o644)
        if not self.cloud_init:
            rule = f"{ADMIN} ALL=(ALL:ALL) NOPASSWD: ALL\n"
            files[f"etc/sudoers.d/{ADMIN}"] = (rule, 0o440)
            files["etc/systemd/system/sandbox-seed.service"] = (_SEED_UNIT, 0o644)
            files["usr/local/sbin/sandbox-seed"] = (_SEED_SCRIPT, 0o755)
        return files
