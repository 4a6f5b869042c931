"""What of the manifest is on the host: one observer per kind of item, none of them changes it."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import stat
from typing import Any

from . import packages, system
from .dpkg import ABSENT
from .files import Host, kernel_arguments, records
from .programs import run
from .services import services

Item = dict[str, Any]

# Beyond this a file is data (a model), not configuration: its size is compared, not its hash.
HASHED = 8 * 1024 * 1024
SHOWN = 64 * 1024
IMAGES = "/var/lib/containers/storage"


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
    return {"uid": uid, "gid": gid, "home": home, "shell": shell, "groups": sorted(groups)}


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


def full_reference(reference: str) -> str:
    """An image reference with its tag, as Podman writes it."""
    last = reference.rsplit("/", 1)[-1]
    return reference if ":" in last or "@" in last else f"{reference}:latest"


def parse_store(text: str) -> dict[str, str]:
    """Names and digests of Podman's image store to image ids."""
    found: dict[str, str] = {}
    for image in json.loads(text):
        for name in image.get("names") or []:
            found[name] = f"sha256:{image['id']}"
            if image.get("digest"):
                repository = re.sub(r"(@sha256:|:)[^:/]+$", "", name)
                found[f"{repository}@{image['digest']}"] = f"sha256:{image['id']}"
    return found


def parse_images(text: str) -> dict[str, str]:
    """The same from `podman images` lines `repository:tag repository@digest id`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            found[words[0]] = found[words[1]] = words[2]
    return found


def stored_images(host: Host) -> dict[str, str] | None:
    """Every image of the system's store by name, from its own index; null for who may not look."""
    if host.live and os.geteuid() != 0:  # an ordinary user sees a store of his own
        return None
    known: dict[str, str] = {}
    for driver in ("overlay", "vfs", "btrfs"):
        text = host.text(f"{IMAGES}/{driver}-images/images.json")
        if text:
            known.update(host.guarded("image store", {}, parse_store, text))
    return known


def images(host: Host, references: list[str]) -> dict[str, dict[str, Any]]:
    """Image ids by reference: the store's own index first, since Podman starts slowly."""
    known = stored_images(host)
    if known is None:
        return {reference: {"exists": None, "image_id": None} for reference in references}

    def find(reference: str) -> str | None:
        name = full_reference(reference)
        candidates = (name, f"localhost/{name}", f"docker.io/{name}", f"docker.io/library/{name}")
        return next((known[candidate] for candidate in candidates if candidate in known), None)

    if any(find(reference) is None for reference in references):
        form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"
        listed = run(host, "podman", "images", "--no-trunc", "--format", form)
        known.update(parse_images(listed or ""))
    return {
        reference: {"exists": find(reference) is not None, "image_id": find(reference)}
        for reference in references
    }


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
    image_table = images(
        host, sorted({str(i.get("reference")) for i in wanted if i.get("kind") == "image"})
    )

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
            return {"exists": login is not None, "groups": login["groups"] if login else []}
        if kind == "unit":
            return unit_table[item["name"]]
        if kind == "image":
            return image_table[item["reference"]]
        if kind == "kernel_arg":
            return kernel_argument(host, item["key"])
        if kind == "kernel":
            return kernel(host, known)
        raise ValueError(f"kind {kind!r} cannot be observed")

    return [
        host.guarded(f"item {index} ({item.get('kind')})", {}, one, item)
        for index, item in enumerate(wanted)
    ]
