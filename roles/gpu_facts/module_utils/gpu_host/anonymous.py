"""Takes out of files what tells whose machine it is: names, addresses, identifiers, secrets.

The same word is replaced by the same word everywhere, so that files still fit together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Callable

from .files import records
from .memory import module_bytes, structures

HOST = "host"
GONE = "(removed)"
# A secret that is shorter is a word of the language, and would take half a log with it.
SHORTEST = 6
FIRST_USER = 1000
NOBODY = 65534
# Logins that images come with: words of distributions, of nobody.
COMMON = {"debian", "ubuntu", "fedora", "rocky", "almalinux", "centos", "admin", "user", "root",
          "linux", "localhost", "amdgpu", "amd", "kernel", "server", "boot", "vm"}  # fmt: skip
HOSTNAMES = ("/proc/sys/kernel/hostname", "/etc/hostname")
# Archives of distributions and vendors; every other server is somebody's own.
PUBLIC = (
    "debian.org", "ubuntu.com", "fedoraproject.org", "redhat.com", "rockylinux.org", "amd.com",
    "almalinux.org", "centos.org", "opensuse.org", "archlinux.org", "radeon.com", "docker.com",
    "launchpadcontent.net", "github.com", "rpmfusion.org", "huggingface.co", "quay.io",
    "ghcr.io", "example", "localhost", "127.0.0.1",
    "0.0.0.0",  # noqa: S104  nothing is bound  # nosec B104
)  # fmt: skip
UUID = re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")
SHORT_ID = re.compile(r"\b((?:PART)?UUID=)([0-9A-Fa-f]{4,8}-[0-9A-Fa-f]{2,4})(?![-\w])")
MACHINE_ID = re.compile(r"(?<![0-9a-fA-F])[0-9a-f]{32}(?![0-9a-fA-F])")
# Longer ones are identifiers of InfiniBand.
MAC = re.compile(r"(?<![0-9a-fA-F:])[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5,19}(?![0-9a-fA-F:])")
# Not loopback, not a network mask; a version has more or fewer numbers.
ADDRESS = re.compile(r"(?<![\d.])(?!(?:127|0|255)\.)(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)")
# What is one of ours already stays: a second pass changes nothing.
STAND_IN = re.compile(r"0{24}|0{8}-0{4}-4000-8000-0000|02:00:00:00:00:|192\.0\.2\.")
BY_ID = re.compile(r"(/dev/(?:disk/by-[a-z-]+|mapper)/)(\S+)")
LOGIN = re.compile(r"(?<=://)[^/@\s]+@")
SERVER = re.compile(r"(?<=://)([A-Za-z0-9._-]+)")
SECRET = re.compile(
    r"^(\s*[\w.-]*(?:password|passwd|secret|token|api_?key|username|proxy\w*)\s*[=:]\s*)(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
SECRET_ARGUMENT = re.compile(r"(?i)\b(\w*(?:password|passwd|secret|token|key|ip|nameserver))=(\S+)")
LABEL = re.compile(r"\b((?:PART)?LABEL=|rd\.lvm\.\w+=)(\S+)")
# Names in these belong to the firmware, the same on every machine.
STANDARD = "/sys/firmware/efi/efivars/"
WITH_ADDRESSES = ("/proc/", "/etc/", "/boot/")
# Files with kernel arguments or mounts.
ARGUMENTS = ("/proc/cmdline", "/proc/self/", "/etc/default", "/etc/kernel", "/boot")
TABLE = "/sys/firmware/dmi/tables/DMI"
ENTRIES = "/sys/firmware/dmi/entries/"
UDEV = "/run/udev/data/"
STATUS = "/var/lib/dpkg/status"
KEPT_PACKAGES = re.compile(
    r"(linux-|amdgpu|rocm|hip|hsa|rccl|lib\w*rocm|podman|docker|containerd|crun|runc|netavark|"
    r"aardvark|nftables|dracut|initramfs|grub|systemd-boot|.*firmware)"
)
KEPT_FIELDS = ("Package", "Status", "Version", "Architecture", "Source", "Provides")
# Bytes of a memory module's record that number its strings: where it sits, who made it, serials.
STRINGS = (0x10, 0x11, 0x17, 0x18, 0x19, 0x1A)


class Names:
    """Every replacement made for one host, and the rules that make them."""

    def __init__(
        self, files: dict[str, bytes], asked: list[str], keep_host_names: bool = False
    ) -> None:
        self.asked = set(asked)
        self.keep = keep_host_names
        self.replaced: dict[str, int] = {}
        self.left_out: list[str] = []
        self._fake: dict[tuple[str, str], str] = {}
        self._logins = people(_text(files, "/etc/passwd"))
        self._hosts: list[str] = []
        self._secrets: list[str] = []
        self.know(_text(files, path).strip() for path in HOSTNAMES)

    def know(
        self,
        hosts: Iterable[str] = (),
        logins: Iterable[str] = (),
        secrets: Iterable[str] = (),
    ) -> None:
        """More names of this host, more of its people, and words that must not leave it."""
        found = {word.strip() for word in secrets}
        self._secrets += sorted((s for s in found if len(s) >= SHORTEST), key=len, reverse=True)
        if not self.keep:
            parts = {part for name in hosts for part in (name, name.partition(".")[0])}
            # A word of the system as a name is replaced where it is the name only; a number, or
            # what is as short as an article, is no name.
            parts = {part for part in parts if len(part) > 2 and not part.isdecimal()}
            self._hosts = sorted({*self._hosts, *parts} - COMMON - {HOST}, key=len, reverse=True)
        for login in logins:
            if len(login) > 2:
                self._logins.setdefault(login, f"user{len(self._logins) + 1}")

    def words(self) -> dict[str, list[str]]:
        """The names that are replaced wherever they stand."""
        return {"hosts": self._hosts, "logins": sorted(self._logins)}

    def new(self, kind: str, old: str, form: Callable[[int], str]) -> str:
        """The stand-in of a word, the same each time; numbered by kind in order of appearance."""
        if STAND_IN.match(old):
            return old
        key = (kind, old.lower())
        if key not in self._fake:
            self.replaced[kind] = self.replaced.get(kind, 0) + 1
            self._fake[key] = form(self.replaced[kind])
        return self._fake[key]

    def words_out(self, text: str) -> str:
        """The text without any of the secrets that are known by their value."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, GONE)
                self.replaced["secret"] = self.replaced.get("secret", 0) + 1
        return text

    def text(self, text: str) -> str:
        """Identifiers of any file."""
        text = self.words_out(text)
        text = UUID.sub(lambda m: self.new(
            "uuid", m[0], lambda n: f"00000000-0000-4000-8000-{n:012x}"), text)  # fmt: skip
        text = SHORT_ID.sub(lambda m: m[1] + self.new(
            "uuid", m[2], lambda n: f"{n:04X}-{n:04X}"), text)  # fmt: skip
        text = MACHINE_ID.sub(lambda m: self.new("machine id", m[0], lambda n: f"{n:032x}"), text)
        text = MAC.sub(self.mac, text)
        for name in self._hosts:
            below = r"(?:[\w-]+\.)*" if "." in name else ""  # other hosts of a domain, too
            text = re.sub(
                rf"(?<![\w-]){below}{re.escape(name)}(?![\w-])",
                lambda m: self.new("host name", m[0], lambda n: HOST), text,
            )  # fmt: skip
        for login, fake in self._logins.items():
            if login not in COMMON:
                text, count = re.subn(rf"(?<![\w-]){re.escape(login)}(?![\w-])", fake, text)
                if count:
                    self.new("login", login, str)
        return text

    def path(self, path: str) -> str:
        """Names of files: entries of boot loaders begin with the machine's id."""
        return path if path.startswith(("/sys/", "/proc/")) else self.text(path)

    def content(self, path: str, data: bytes) -> bytes:
        """One file as it may leave the machine."""
        if path == TABLE:
            return b"".join(_module(raw) for raw in structures(data) if raw[0] == 17)
        if path.startswith(ENTRIES):
            return _module(data) if path.endswith("/raw") else data
        if path.startswith(STANDARD):
            return data
        if path in HOSTNAMES and not self.keep:
            self.replaced["host name"] = 1
            return f"{HOST}\n".encode()
        text = data.decode("utf-8", "replace")
        if path.startswith(UDEV):
            text = "".join(re.findall(r"^E:MEMORY_DEVICE_\d+_SIZE=\d+\n", text, re.MULTILINE))
        elif path == STATUS:
            text = self._packages(text)
        elif path in ("/etc/passwd", "/etc/group"):
            return self._accounts(text, path).encode()
        elif path.startswith("/sys/"):
            return self._plain(data, text)
        return self._settings(path, text).encode()

    def _plain(self, data: bytes, text: str) -> bytes:
        """Files of the kernel: text with identifiers, or bytes that mean nothing as text."""
        return data if b"\0" in data or "\ufffd" in text else self.text(text).encode()

    def _settings(self, path: str, text: str) -> str:
        text = LOGIN.sub("", text)
        text = SERVER.sub(self.server, text)
        text = BY_ID.sub(lambda m: m[1] + self.new("disk", m[2], lambda n: f"disk-{n}"), text)
        if path.startswith(ARGUMENTS):
            text = SECRET_ARGUMENT.sub(lambda m: f"{m[1]}=removed", text)
            text = LABEL.sub(lambda m: m[1] + self.new("label", m[2], lambda n: f"label{n}"), text)
        if path.startswith(WITH_ADDRESSES):
            text = ADDRESS.sub(self.address, text)
        if not path.startswith("/proc/"):
            text = SECRET.sub(lambda m: f"{m[1]}removed", text)
        return self.text(text)

    def mac(self, match: Any) -> str:
        """The stand-in of an address of a network card."""
        return self.new("mac", match[0], lambda n: f"02:00:00:00:00:{n:02x}")

    def address(self, match: Any) -> str:
        """The stand-in of an address of IPv4; it is one that nobody has."""
        return self.new("address", match[0], lambda n: f"192.0.2.{n % 255}")

    def server(self, match: Any) -> str:
        """The stand-in of a server that is not a distribution's or a vendor's."""
        name = match[0].lower()
        if self.keep or any(name == one or name.endswith(f".{one}") for one in PUBLIC):
            return str(match[0])
        return self.new("server", name, lambda n: f"mirror{n}.example")

    def _packages(self, text: str) -> str:
        """Kernels, firmware, runtimes, what was asked for, what is broken; few fields of each."""
        kept, dropped = [], 0
        for paragraph in re.split(r"\n[ \t]*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", paragraph, re.MULTILINE))
            name = fields.get("Package", "")
            sound = fields.get("Status", "").endswith(" ok installed")
            if name and (name in self.asked or KEPT_PACKAGES.match(name) or not sound):
                kept.append("".join(f"{k}: {fields[k]}\n" for k in KEPT_FIELDS if k in fields))
            else:
                dropped += bool(name)
        if dropped:
            self.left_out.append(f"{dropped} packages of no interest")
        return "\n".join(kept)

    def _accounts(self, text: str, path: str) -> str:
        """People become user1, user2; system accounts stay, nobody keeps a full name."""
        lines = []
        for fields in records(text):
            number = int(fields[2]) if len(fields) > 2 and fields[2].isdecimal() else 0
            person = FIRST_USER <= number < NOBODY
            if path == "/etc/passwd" and len(fields) >= 7:
                fields[1], fields[4] = "x", ""
                if person:
                    fields[0] = self._logins.get(fields[0], "user")
                    fields[5] = f"/home/{fields[0]}"
            elif path == "/etc/group" and len(fields) >= 4:
                if person:
                    fields[0] = self._logins.get(fields[0]) or self.new(
                        "group", fields[0], lambda n: f"group{n}"
                    )
                members = (self._logins.get(name, name) for name in fields[3].split(",") if name)
                fields[1], fields[3] = "x", ",".join(members)
            lines.append(":".join(fields))
        return "\n".join(lines) + "\n"


def _text(files: dict[str, bytes], path: str) -> str:
    return files.get(path, b"").decode("utf-8", "replace")


def people(passwd: str) -> dict[str, str]:
    """Every person's login with its stand-in, in the order of the file."""
    people = [
        fields[0]
        for fields in records(passwd)
        if len(fields) > 2 and fields[2].isdecimal() and FIRST_USER <= int(fields[2]) < NOBODY
    ]
    return {login: f"user{number}" for number, login in enumerate(dict.fromkeys(people), 1)}


def _module(raw: bytes) -> bytes:
    """A memory module's record with its size and without its strings."""
    length = raw[1] if len(raw) > 1 else 0
    record = bytearray(raw[:length])
    for place in STRINGS:
        if place < len(record):
            record[place] = 0
    return bytes(record) + b"\0\0" if module_bytes(raw) or record else b""
