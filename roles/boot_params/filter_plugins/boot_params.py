"""Kernel arguments as items of the manifest."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def kernel_argument_items(arguments: list[str], reasons: Json) -> list[Json]:
    """One item per argument: on the running command line exactly once, with this value."""
    items = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        items.append(
            {
                "role": "boot_params",
                "stage": "reboot",
                "kind": "kernel_arg",
                "key": key,
                "value": value,
                "reason": reasons.get(f"boot.args.{key}", ""),
            }
        )
    return items


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"kernel_argument_items": kernel_argument_items}
