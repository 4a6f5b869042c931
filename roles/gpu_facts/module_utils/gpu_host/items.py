"""What of the manifest is on the host: one observer per kind of item, none of them changes it."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
from typing import Any

from . import packages, system
from .dpkg import ABSENT
from .files import Host, kernel_arguments, records
from .services import services
from .stores import images, store

Item = dict[str, Any]

# Beyond this a file is data (a model), not configuration: its size is compared, not its hash.
HASHED = 8 * 1024 * 1024
SHOWN = 64 * 1024


class Names:
    """Names of owners: from the running system's databases, or from the files of a tree."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.users = self._ids("/etc/passwd")
        self.groups = self._ids("/etc/group")

    def _ids(self, path: str) -> dict[int, str]:
        fields = records(self.host.text(path) or "")
        return {int(row[2]): row[0] for row in fields if len(row) > 2 and row[2].isdecimal()}

    def user(self, uid: int) -> str:
        return self.users.get(uid, str(uid))

    def group(self, gid: int) -> str:
        return self.groups.get(gid, str(gid))


def user(host: Host, name: str) -> dict[str, Any] | None:
    """One login with the names of all its groups, the primary one included."""
    member_of = {
        row[0]: (row[2], row[3].split(","))
        for row in records(host.text("/etc/group") or "")
        if len(row) > 3
    }
    entry = next(
        (row for row in records(host.text("/etc/passwd") or "") if row[0] == name and len(row) > 6),
        None,
    )
    if entry and entry[2].isdecimal() and entry[3].isdecimal():
        uid, gid, home, shell = int(entry[2]), int(entry[3]), entry[5], entry[6]
    elif host.live:
        try:  # a login of a directory service
            found = pwd.getpwnam(name)
        except KeyError:
            return None
        uid, gid, home, shell = found.pw_uid, found.pw_gid, found.pw_dir, found.pw_shell
    else:
        return None
    groups = {group for group, (number, names) in member_of.items()
              if name in names or number == str(gid)}  # fmt: skip
    if host.live and not entry:
        for number in os.getgrouplist(name, gid):
            try:
                groups.add(grp.getgrgid(number).gr_name)
            except KeyError:
                groups.add(str(number))
    return {"uid": uid, "gid": gid, "home": home, "shell": shell, "groups": sorted(groups),
            "subids": _subordinate(host, name, uid)}  # fmt: skip


def _subordinate(host: Host, name: str, uid: int) -> bool:
    """Whether the login has ids to map into containers, by name or by number."""
    return all(
        any(row[0] in (name, str(uid)) for row in records(host.text(path) or ""))
        for path in ("/etc/subuid", "/etc/subgid")
    )


def _shape(mode: int) -> str:
    for name, test in (("file", stat.S_ISREG), ("directory", stat.S_ISDIR), ("link", stat.S_ISLNK)):
        if test(mode):
            return name
    return "other"


def place(host: Host, path: str, names: Names, follow: bool) -> dict[str, Any]:
    try:
        at = host.at(path)
        found = at.stat() if follow else at.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return {"exists": False}
    except (OSError, ValueError) as error:
        host.cannot(path, error)
        return {"exists": None}
    return {
        "exists": True,
        "type": _shape(found.st_mode),
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": names.user(found.st_uid),
        "group": names.group(found.st_gid),
        "size": found.st_size,
    }


def file(host: Host, item: Item, names: Names) -> dict[str, Any]:
    """A file as itself: a symbolic link in its place is a difference. Private text is not shown."""
    seen = place(host, item["path"], names, follow=False)
    seen.update({"sha256": None, "content": None})
    if seen.get("type") != "file" or item.get("opaque") or seen["size"] > HASHED:
        return seen
    data = host.read(item["path"])
    if data is None:
        return seen
    seen["sha256"] = hashlib.sha256(data).hexdigest()
    if len(data) <= SHOWN and int(seen["mode"], 8) & 0o004:
        try:
            seen["content"] = data.decode("utf-8")
        except UnicodeDecodeError:
            seen["content"] = None
    return seen


def kernel_argument(host: Host, key: str) -> dict[str, Any]:
    """Every value that the running command line gives a key; - and _ are one to the kernel."""
    tokens = kernel_arguments(host.line("/proc/cmdline") or "")
    pairs = (token.partition("=") for token in tokens)
    same = key.replace("-", "_")
    named = ((name.strip('"').replace("-", "_"), value.strip('"')) for name, _, value in pairs)
    return {"values": [value for name, value in named if name == same]}


def kernel(host: Host, known: packages.Known) -> dict[str, Any]:
    release = host.line("/proc/sys/kernel/osrelease") or ""
    package = packages.running(known.kernels, release) or {}
    return {"running": release, "version": package.get("version")}


def observe(host: Host, wanted: list[Item]) -> list[dict[str, Any]]:
    """A list parallel to the items; what cannot be observed is an empty table and a note."""
    of_kind = {str(item.get("kind")) for item in wanted}
    names = Names(host) if of_kind & {"file", "directory"} else None
    known = packages.Known(None, {}, [])
    if of_kind & {"package", "kernel"}:
        asked = [str(item.get("name")) for item in wanted if item.get("kind") == "package"]
        known = packages.known(host, system.distribution(host), asked)
    unit_table = services(host, [item for item in wanted if item.get("kind") == "unit"])
    image_table = images(host, [item for item in wanted if item.get("kind") == "image"])

    def one(item: Item) -> dict[str, Any]:
        kind = item["kind"]
        if kind == "file" and names:
            return file(host, item, names)
        if kind == "directory" and names:
            return place(host, item["path"], names, follow=True)
        if kind == "package":
            package = known.packages.get(item["name"], ABSENT)
            return {"version": package.version, "held": package.held}
        if kind == "user":
            login = user(host, item["name"])
            seen = {"exists": login is not None, "groups": login["groups"] if login else []}
            return seen | {"subids": login["subids"] if login else False}
        if kind == "unit":
            return unit_table[item["name"]]
        if kind == "image":
            return image_table[store(item), item["reference"]]
        if kind == "kernel_arg":
            return kernel_argument(host, item["key"])
        if kind == "kernel":
            return kernel(host, known)
        raise ValueError(f"kind {kind!r} cannot be observed")

    return [
        host.guarded(f"item {index} ({item.get('kind')})", {}, one, item)
        for index, item in enumerate(wanted)
    ]
