"""Everything that stroke may own on a host, seen before it is known what is wanted there.

With it one look at a converged host is enough: facts and observation come back together.
"""

from __future__ import annotations

import fnmatch
import posixpath
from typing import Any

from .files import Host, kernel_arguments
from .items import Names, file
from .services import services
from .stores import stored_images, stores


def paths(host: Host, patterns: list[str]) -> dict[str, dict[str, Any]]:
    """What is there of some paths; only the last part of a pattern may have wildcards."""
    names = Names(host)
    found: dict[str, dict[str, Any]] = {}
    for pattern in patterns:
        folder, last = posixpath.split(pattern)
        matching = fnmatch.filter(host.names(folder), last) if set(last) & set("*?[") else [last]
        for name in matching:
            path = posixpath.join(folder, name)
            seen = file(host, {"path": path}, names)
            if seen["exists"] is not False:
                found[path] = seen
    return found


def survey(host: Host, look: dict[str, Any]) -> dict[str, Any]:
    """`patterns` and what matches them (`paths`), units by name, images by name, arguments.

    `stores` has the images of other runtimes and users, where the look asks for them.
    """
    patterns = [str(pattern) for pattern in look.get("paths") or []]
    command_line = host.line("/proc/cmdline") or ""
    return {
        "patterns": patterns,
        "paths": host.guarded("survey of paths", {}, paths, host, patterns),
        "units": host.guarded("survey of units", {}, services, host, look.get("units") or []),
        "images": host.guarded("survey of images", None, stored_images, host),
        "stores": host.guarded("survey of stores", {}, stores, host, look.get("stores") or []),
        "arguments": kernel_arguments(command_line),
    }
