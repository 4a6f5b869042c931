"""What a bug report needs of a host beside its facts: logs, units, records, versions.

Read-only, each part with a bound of its own, and all of them together with one more.
"""

from __future__ import annotations

import base64
import fnmatch
import io
import json
import re
import tarfile
from collections.abc import Iterator
from typing import Any

from .anonymous import Names, people
from .files import Host
from .programs import run
from .scrub import Scrub

# Of one part, in characters; the end of a log is what counts.
PART = 192 * 1024
# Of all of them, packed and in base64: what a module returns has to stay below 700 kB, beyond which
# ansible-runner drops it (MAX_EVENT_RES).
MOST = 400 * 1024
JOURNAL_LINES = 800
KERNEL_WORDS = re.compile(
    r"(?i)amdgpu|\bkfd\b|\bttm\b|\[drm|iommu|AMD-Vi|firmware|hung task|blocked for more|"
    r"out of memory|oom[-_ ]|mce:|pcieport|AER:|segfault|\bBUG\b|Oops|panic|Call Trace|watchdog|"
    r"Linux version|command line|DMI:|secure ?boot|lockdown|EXT4-fs error|I/O error|cgroup"
)
FOLDERS = (
    # Directory, names, levels below it. Never /etc/stroke/secrets.
    ("/etc/systemd/system", "stroke-*", 2),
    ("/etc/containers/systemd", "stroke-*", 2),
    ("/etc/default/grub.d", "*stroke*", 1),
    ("/etc/modprobe.d", "*stroke*", 1),
    ("/etc/kernel", "cmdline*", 1),
    ("/etc/stroke/watchdog", "*", 1),
    ("/etc/stroke/tls_proxy", "*.caddy*", 1),
    ("/var/lib/stroke", "*.json", 3),
    ("/var/lib/stroke", "*.log", 3),
    ("/sys/fs/pstore", "*", 1),
    ("/var/lib/systemd/pstore", "dmesg*", 3),
)
EVIDENCE = "/var/lib/stroke/watchdog/evidence"
EVIDENCE_BUNDLES = 2
SECRETS = "/etc/stroke/secrets"
# Models are no records, and what they bring along is nobody's log.
SKIPPED = ("/var/lib/stroke/models", "/var/lib/stroke/cache", EVIDENCE)
VERSIONS: tuple[tuple[str, ...], ...] = (
    ("uname", "-srvm"), ("systemctl", "--version"), ("podman", "--version"),
    ("docker", "--version"), ("python3", "--version"), ("grub-install", "--version"),
    ("bootctl", "--version"), ("update-initramfs", "-h"), ("dracut", "--version"),
)  # fmt: skip
# File in the archive, and the program whose output it is.
FIRST: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("units.txt", ("systemctl", "list-units", "--all", "--no-pager", "--plain", "stroke-*")),
    ("failed.txt", ("systemctl", "--failed", "--no-pager", "--plain")),
    ("unit-files.txt", ("systemctl", "cat", "--no-pager", "stroke-*")),
    ("journal.txt", ("journalctl", "--no-pager", "--output=short-iso", "--quiet", "--no-hostname",
                     f"--lines={JOURNAL_LINES}", "--unit=stroke-*")),
    ("journal-user.txt", ("journalctl", "--no-pager", "--output=short-iso", "--quiet",
                          "--no-hostname", f"--lines={JOURNAL_LINES}", "--user-unit=stroke-*")),
)  # fmt: skip
LATER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("boots.txt", ("journalctl", "--list-boots", "--no-pager", "--quiet")),
    ("containers.txt", ("podman", "ps", "--all", "--no-trunc")),
    ("images.txt", ("podman", "images", "--digests", "--no-trunc")),
    ("containers-docker.txt", ("docker", "ps", "--all", "--no-trunc")),
    ("memory.txt", ("free", "--mebi", "--wide")),
    ("filesystems.txt", ("df", "--print-type", "--human-readable", "--exclude-type=tmpfs")),
    ("blocks.txt", ("lsblk", "--output=NAME,TYPE,SIZE,FSTYPE,MOUNTPOINTS")),
    ("pci.txt", ("lspci", "-nnk")),
    ("boot-entries.txt", ("grub-editenv", "-", "list")),
)
KERNEL = ("journalctl", "--dmesg", "--no-pager", "--output=short-monotonic", "--quiet",
          "--no-hostname", "--lines=20000")  # fmt: skip
# The last lines before a kernel died are in no list of words.
LAST_LINES = 60


def kernel_lines(text: str, last: int = 0) -> str:
    """Lines of the kernel's log about what stroke sets up, and the very last ones."""
    lines = text.splitlines()
    end = len(lines) - last
    kept = [line for number, line in enumerate(lines)
            if number >= end or KERNEL_WORDS.search(line)]  # fmt: skip
    return "".join(f"{line}\n" for line in kept)


def secrets(host: Host) -> list[str]:
    """The secrets that stroke keeps on this host, to find them where they should not be."""
    found = []
    for path in walk(host, SECRETS, "*", 3):
        text = host.text(path, 64 * 1024) or ""
        found += [text, *text.splitlines()]
    return found


def names(host: Host) -> list[str]:
    """More names of this host: its hosts file, its domains."""
    hosts = []
    for line in (host.text("/etc/hosts") or "").splitlines():
        words = line.partition("#")[0].split()
        hosts += [word for word in words[1:] if not word.startswith(("localhost", "ip6-"))]
    for line in (host.text("/etc/resolv.conf") or "").splitlines():
        words = line.split()
        hosts += words[1:] if words[:1] in (["search"], ["domain"]) else []
    return [name for name in hosts if len(name) > 2]


def walk(host: Host, folder: str, pattern: str, levels: int) -> Iterator[str]:
    """Paths of files below a directory whose names fit; links are not followed."""
    for name in host.names(folder):
        path = f"{folder}/{name}"
        here = host.at(path)
        if here.is_symlink() or path in SKIPPED:
            continue
        if here.is_dir():
            if levels > 1:
                yield from walk(host, path, pattern, levels - 1)
        elif fnmatch.fnmatch(name, pattern):
            yield path


def parts(host: Host) -> Iterator[tuple[str, str]]:
    """Name and text of every part, the most telling ones first."""
    yield "versions.txt", "".join(_versions(host))
    yield "kernel.txt", kernel_lines(_kernel(host))
    for name, words in FIRST:
        yield name, run(host, *words) or ""
    yield "kernel-boot-before.txt", kernel_lines(run(host, *KERNEL, "--boot=-1") or "", LAST_LINES)
    for folder, pattern, levels in FOLDERS:
        for path in walk(host, folder, pattern, levels):
            yield f"files{path}", host.text(path, PART) or ""
    for name, words in LATER:
        yield name, run(host, *words) or ""
    yield "container-details.json", host.guarded("containers", "", _containers, host)
    yield "packages.txt", _packages(host)
    for bundle in host.names(EVIDENCE)[-EVIDENCE_BUNDLES:]:
        for path in walk(host, f"{EVIDENCE}/{bundle}", "*", 1):
            yield f"evidence/{bundle}/{path.rpartition('/')[2]}", host.text(path, PART) or ""


def _versions(host: Host) -> Iterator[str]:
    for words in VERSIONS:
        said = (run(host, *words) or "").strip().splitlines()
        yield f"{words[0]}: {said[0] if said else 'not there'}\n"
    for name in host.names("/opt"):
        version = host.line(f"/opt/{name}/.info/version") if name.startswith("rocm") else None
        if version:
            yield f"/opt/{name}: {version}\n"


def _kernel(host: Host) -> str:
    """The journal has the kernel's log from the first line on; the ring buffer may not."""
    return run(host, *KERNEL, "--boot=0") or run(host, "dmesg") or ""


def _containers(host: Host) -> str:
    """What runs in containers, without their environment, which is where people put tokens."""
    listed = (run(host, "podman", "ps", "--all", "--quiet", "--filter=name=stroke-") or "").split()
    if not listed:
        return ""
    found = json.loads(run(host, "podman", "container", "inspect", *listed) or "[]")
    kept = ("Name", "Path", "Args", "State", "ImageName", "ImageDigest", "RestartCount", "Mounts",
            "HostConfig", "OCIRuntime")  # fmt: skip
    return json.dumps([{k: one[k] for k in kept if k in one} for one in found], indent=1)


def _packages(host: Host) -> str:
    """What was installed last, and in which order."""
    text = ""
    for path, lines in (("/var/log/apt/history.log", 300), ("/var/log/dpkg.log", 200),
                        ("/var/log/dnf.rpm.log", 200)):  # fmt: skip
        told = (host.text(path) or "").splitlines()[-lines:]
        text += "".join(f"{line}\n" for line in ([f"== {path}", *told] if told else []))
    return text


def _end(text: str) -> str:
    """Whole lines from the end, cut after the secrets are out: half a secret looks like none."""
    return text if len(text) <= PART else text[-PART:].partition("\n")[2]


def pack(host: Host, known: Names) -> dict[str, Any]:
    """A gzipped tar in base64 of all parts, made anonymous."""
    logins = people(host.text("/etc/passwd") or "")
    known.know(
        host.guarded("names", [], names, host), logins, host.guarded("secrets", [], secrets, host)
    )
    scrub = Scrub(known)
    buffer = io.BytesIO()
    left_out = []
    number = 0
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as archive:
        for name, text in parts(host):
            if not text.strip():
                continue
            if buffer.tell() > MOST * 3 // 4:  # base64 makes four characters of three bytes
                left_out.append(scrub.text(name))
                continue
            data = _end(scrub.text(text)).encode("utf-8", "replace")
            entry = tarfile.TarInfo(scrub.text(name))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
            number += 1
    return {
        "archive": base64.b64encode(buffer.getvalue()).decode("ascii"),
        "files": number,
        "left_out": left_out,
        "names": known.words(),
    }
