"""What can be wrong with a new system: faults that are in a guest's trial boot, and in no other."""

from __future__ import annotations

from dataclasses import dataclass

# Starts where the guard's word is on the command line: before everything that `order` names.
_UNIT = """\
sudo tee /usr/local/sbin/fault >/dev/null <<'END'
{script}
END
sudo tee /etc/systemd/system/fault.service >/dev/null <<'END'
[Unit]
DefaultDependencies=no
ConditionKernelCommandLine=stroke.trial
{order}
[Service]
Type={kind}
ExecStart=/bin/sh /usr/local/sbin/fault
END
sudo mkdir -p /etc/systemd/system/sysinit.target.wants
sudo ln -s ../fault.service /etc/systemd/system/sysinit.target.wants/
"""
_NO_UNIT = """\
cd /etc/systemd/system
sudo rm fault.service sysinit.target.wants/fault.service /usr/local/sbin/fault
"""
# In the initramfs, where there is neither the root file system nor systemd, nor grep.
_INITRAMFS = """\
sudo tee /etc/initramfs-tools/scripts/{stage}/fault >/dev/null <<'END'
#!/bin/sh
[ "$1" = prereqs ] && exit 0
case "$(cat /proc/cmdline)" in *stroke.trial=*) ;; *) exit 0 ;; esac
{script}
END
sudo chmod 0755 /etc/initramfs-tools/scripts/{stage}/fault
sudo update-initramfs -u
"""
_NO_INITRAMFS = "sudo rm /etc/initramfs-tools/scripts/{stage}/fault; sudo update-initramfs -u"


@dataclass(frozen=True)
class Fault:
    """What is wrong, what the guard says of it, what is on the console, and how it is mended."""

    name: str
    inject: str
    mend: str
    why: str
    console: str
    more: tuple[str, ...] = ()


def _unit(name: str, kind: str, order: str, script: str, why: str, console: str) -> Fault:
    inject = _UNIT.format(kind=kind, order=order, script=script)
    return Fault(name, inject, _NO_UNIT, why, console)


def _initramfs(name: str, stage: str, script: str, why: str, console: str) -> Fault:
    inject = _INITRAMFS.format(stage=stage, script=script)
    return Fault(name, inject, _NO_INITRAMFS.format(stage=stage), why, console)


FAULTS = (
    _initramfs(
        "panic-in-the-new-kernel",
        "init-top",
        "echo c >/proc/sysrq-trigger",
        "ended before its guard began",
        "Kernel panic - not syncing",
    ),
    # The driver of the disk does not take it: what an initramfs without that driver comes to.
    _initramfs(
        "root-not-found",
        "init-premount",
        """\
echo 0 >/sys/bus/virtio/drivers_autoprobe
for disk in /sys/bus/virtio/drivers/virtio_blk/virtio*; do
    [ ! -e "$disk" ] || echo "${disk##*/}" >/sys/bus/virtio/drivers/virtio_blk/unbind
done""",
        "ended before its guard began",
        "Gave up waiting for root",
    ),
    # Every processor is busy at a priority above all others: systemd's, the guard's, sshd's. What
    # the kernel keeps for ordinary work in that case is taken away, too.
    _unit(
        "hang",
        "exec",
        "After=systemd-modules-load.service",
        """\
until grep -q ^active /sys/class/watchdog/watchdog*/state; do sleep 1; done
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
for file in /sys/kernel/debug/sched/fair_server/cpu*/runtime; do echo 0 >$file; done
echo -1 >/proc/sys/kernel/sched_rt_runtime_us
echo 'fault: nothing else runs from here on' >/dev/console
for number in $(seq $(nproc)); do chrt --fifo 99 sh -c 'while :; do :; done' & done
wait""",
        "ended (while it was being judged|before stroke confirmed it)",
        "fault: nothing else runs from here on",
    ),
    _unit(
        "network-dead-after-boot",
        "oneshot",
        "Before=systemd-networkd.service network-pre.target",
        """\
mkdir -p /run/systemd/network
printf '[Match]\\nName=e*\\n[Link]\\nUnmanaged=yes\\n' >/run/systemd/network/00-fault.network""",
        "there is no default route",
        "going back to the last known good system: there is no default route",
    ),
    # What removing the package of the last known good kernel comes to. Two starts mend it.
    _unit(
        "modules-of-the-good-kernel-gone",
        "oneshot",
        "After=systemd-remount-fs.service",
        "rm -rf /lib/modules/$(uname -r); sync; echo c >/proc/sysrq-trigger",
        "ended (before its guard began|while it was being judged)",
        "starting again with them",
    ),
    Fault(
        "amdgpu-absent-where-it-is-required",
        "true",
        "true",
        "amdgpu does not drive the GPU at 0000:7f:00.0",
        "going back to the last known good system: amdgpu does not drive",
        ("-e", '{"boot_guard_gpus": ["0000:7f:00.0"]}'),
    ),
)
