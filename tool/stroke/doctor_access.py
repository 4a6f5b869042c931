"""Who may open a device node: mode, owner, group and ACL against a user's groups."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

READ_WRITE = 6
# Tags of struct posix_acl_xattr_entry (linux/posix_acl_xattr.h, linux/posix_acl.h).
ACL_HEADER, ACL_ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
USER, GROUP_OBJECT, GROUP, MASK = 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Account:
    """A user: the groups that the session has, and those that the next login will have."""

    name: str
    uid: int
    session: frozenset[int]
    configured: frozenset[int]


@dataclass(frozen=True, slots=True)
class Acl:
    """The part of an access control list that the mode does not say."""

    users: tuple[tuple[int, int], ...] = ()
    groups: tuple[tuple[int, int], ...] = ()
    owning_group: int | None = None
    mask: int = 7


@dataclass(frozen=True, slots=True)
class Node:
    """A device node as it is now, and what that means for one user."""

    path: str
    mode: int
    uid: int
    gid: int
    acl: Acl
    openable: bool
    openable_after_login: bool

    @property
    def group(self) -> str:
        """Name of the owning group."""
        return group_name(self.gid)

    def __str__(self) -> str:
        names = [f"user:{user_name(uid)}" for uid, _ in self.acl.users]
        names += [f"group:{group_name(gid)}" for gid, _ in self.acl.groups]
        listed = f", ACL {' '.join(names)}" if names else ""
        return f"{self.path}: {self.mode:04o} {user_name(self.uid)}:{self.group}{listed}"


def account(environment: dict[str, str]) -> Account:
    """The user in front of the machine: who called sudo, if somebody did."""
    uid, session = os.getuid(), frozenset({os.getgid(), *os.getgroups()})
    if uid == 0:
        with suppress(KeyError):
            caller = pwd.getpwnam(environment.get("SUDO_USER", ""))
            if caller.pw_uid != 0:
                groups = frozenset(os.getgrouplist(caller.pw_name, caller.pw_gid))
                return Account(caller.pw_name, caller.pw_uid, groups, groups)
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a login that only this process has
        return Account(str(uid), uid, session, session)
    configured = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_name, uid, session, configured)


def user_name(uid: int) -> str:
    """Login of a uid, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Name of a gid, or its number."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def node(path: str, who: Account) -> Node | None:
    """What a device node allows a user; None where there is no such node."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    acl = read_acl(path)
    now = may_open(found, acl, who.uid, who.session)
    if who.uid == os.getuid():  # the kernel knows best
        now = os.access(path, os.R_OK | os.W_OK)
    later = now or may_open(found, acl, who.uid, who.configured)
    mode = stat.S_IMODE(found.st_mode)
    return Node(path, mode, found.st_uid, found.st_gid, acl, now, later)


def read_acl(path: str) -> Acl:
    """The access control list of a file; an empty one where there is none."""
    try:
        raw = os.getxattr(path, "system.posix_acl_access")
    except OSError:
        return Acl()
    users, groups, owning, mask = [], [], None, 7
    body = raw[ACL_HEADER.size :]
    for offset in range(0, len(body) - ACL_ENTRY.size + 1, ACL_ENTRY.size):
        tag, rights, number = ACL_ENTRY.unpack_from(body, offset)
        if tag == USER:
            users.append((number, rights))
        elif tag == GROUP:
            groups.append((number, rights))
        elif tag == GROUP_OBJECT:
            owning = rights
        elif tag == MASK:
            mask = rights
    return Acl(tuple(users), tuple(groups), owning, mask)


def may_open(found: os.stat_result, acl: Acl, uid: int, gids: frozenset[int]) -> bool:
    """Whether somebody may read and write, by the rules of acl(5)."""

    def enough(rights: int) -> bool:
        return rights & READ_WRITE == READ_WRITE

    mode = found.st_mode
    if uid == 0:
        return True
    if uid == found.st_uid:
        return enough(mode >> 6)
    for number, rights in acl.users:
        if number == uid:
            return enough(rights & acl.mask)
    # The mode's group bits are the mask where there is a list.
    owning = mode >> 3 & 7 if acl.owning_group is None else acl.owning_group & acl.mask
    classes = [(found.st_gid, owning), *((gid, rights & acl.mask) for gid, rights in acl.groups)]
    matching = [rights for gid, rights in classes if gid in gids]
    return any(map(enough, matching)) if matching else enough(mode)
