"""Where a host with apt takes its kernel from."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def kernel_archive(
    facts: Json, suite: str, components: list[str], keyring: str, own_file: str
) -> Json:
    """The archive that stroke has to add: its address is the one that the host itself uses.

    `components` is empty when the host's own sources have everything already.
    """
    codename = facts["distribution"]["codename"]
    wanted = suite or codename
    sources = [
        source
        for source in facts["apt"]["sources"]
        if source["enabled"] and "deb" in source["types"] and source["file"] != own_file
    ]
    present = {
        component
        for source in sources
        if wanted in source["suites"]
        for component in source["components"]
    }
    base = next((source for source in sources if codename in source["suites"]), None)
    return {
        "uri": base["uris"][0] if base else None,
        "suite": wanted,
        "components": [name for name in components if name not in present],
        "signed_by": (base or {}).get("signed_by") or keyring,
    }


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"kernel_archive": kernel_archive}
