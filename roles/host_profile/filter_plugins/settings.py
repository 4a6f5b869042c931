"""What the user has set for a host, checked before anything on the host is changed.

The allowed names and types are the roles' own argument specifications, so nothing is listed twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

Json = dict[str, Any]

# libyaml where it is there: ten times as fast, and as safe.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What ends up in the command line of ssh. An address may name its interface (fe80::1%eth0).
CONNECTION = {
    "inventory_hostname": re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:-]{0,252}"),
    "ansible_host": re.compile(r"[A-Za-z0-9_:\[][A-Za-z0-9._:%\[\]-]{0,252}"),
    "ansible_user": re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+\\-]{0,252}[$]?"),
    "ansible_port": re.compile(r"[0-9]{1,5}"),
}
# Names that become arguments of useradd, chown and ssh: no option, no space, no separator.
LOGIN = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.@-]{0,63}[$]?")
LOGINS = ("gpu_access_user", "gpu_access_users", "inference_server_user", "model_store_owner")
# Prefixes that other people's inventories may well use for things of their own: a name that stroke
# does not know is reported there only when it looks like a misspelling of one that it knows.
SHARED_PREFIXES = ("kernel_", "packages_", "preflight_")


def _specifications(roles_directory: str) -> tuple[Json, list[str]]:
    """Options of every role's `main` entry point, and the prefixes that belong to stroke."""
    options: Json = {}
    prefixes = ["stroke_"]
    for path in sorted(Path(roles_directory).glob("*/meta/argument_specs.yml")):
        prefixes.append(path.parts[-3] + "_")
        text = path.read_text(encoding="utf-8")
        # Its loader is one of the safe ones, made of C where there is one.
        specification = yaml.load(text, Loader=_Loader)  # noqa: S506  # nosec B506
        options.update(specification["argument_specs"]["main"].get("options", {}))
    return options, prefixes


def hostile(variables: Mapping[str, Any]) -> str:
    """Why a host must not be connected to: its name or address is an argument of ssh."""
    name = str(variables.get("inventory_hostname", "host"))
    for key, accepted in CONNECTION.items():
        value = variables.get(key)
        if value is not None and not accepted.fullmatch(str(value)):
            what = (
                f"the name {str(value)[:80]!r}"
                if key == "inventory_hostname"
                else (f"{key} of {name[:80]!r} is {str(value)[:80]!r}, which")
            )
            return (f"STK-642: {what} is not accepted. Hint: use letters, digits and . _ - : only, "
                    "and begin with a letter or digit")  # fmt: skip
    return ""


def _plain(option: Json) -> Json:
    """An option as the validator takes it: without documentation, defaults and obligations."""
    kept: Json = {key: option[key] for key in ("type", "choices", "elements") if key in option}
    if "options" in option:
        kept["options"] = {
            name: _plain(sub) | {"required": sub.get("required", False)}
            for name, sub in option["options"].items()
        }
    return kept


def check_settings(variables: Mapping[str, Any], roles_directory: str, ignore: list[str]) -> Json:
    """`settings` (name → checked value) and `problems` of one host's variables."""
    if refused := hostile(variables):
        raise ValueError(refused)
    options, prefixes = _specifications(roles_directory)
    settings: Json = {}
    problems: list[Json] = []
    for name in sorted(variables):
        if name in ignore or not (name in options or name.startswith(tuple(prefixes))):
            continue
        if name not in options:
            close = difflib.get_close_matches(name, list(options), n=1, cutoff=0.8)
            if name.startswith(SHARED_PREFIXES) and not close:
                continue
            hint = f"did you mean {close[0]}?" if close else "docs/variables.md lists them all"
            problems.append({"code": "STK-301", "what": f"unknown variable {name}", "hint": hint})
            continue
        validator = ArgumentSpecValidator({name: _plain(options[name])})
        result = validator.validate({name: variables[name]})
        if options[name].get("no_log"):  # not kept: every task may print the settings
            if result.error_messages:
                what = f"{name} is no text"
                problems.append({"code": "STK-302", "what": what, "hint": "write it in quotes"})
            continue
        if result.error_messages:
            reason = "; ".join(result.error_messages).removeprefix(f"argument '{name}' is of type ")
            reason = reason.replace("must be one of: , ", "must be one of: '', ")
            problems.append(
                {
                    "code": "STK-302",
                    "what": f"{name}: {reason}",
                    "hint": "correct it in the inventory or after -e; "
                    "docs/variables.md explains it",
                }
            )
            continue
        settings[name] = result.validated_parameters[name]
        wrong = _no_logins(settings[name]) if name in LOGINS else []
        if wrong:
            what = f"{name}: {', '.join(repr(login[:80]) for login in wrong)} cannot be a login"
            hint = "use letters, digits and . _ - only, and begin with a letter, digit or _"
            problems.append({"code": "STK-302", "what": what, "hint": hint})
    return {"settings": settings, "problems": problems}


def _no_logins(value: Any) -> list[str]:
    logins = value if isinstance(value, list) else [value] if value else []
    return [str(login) for login in logins if not LOGIN.fullmatch(str(login))]


def catalog_packages(catalog: Json) -> list[str]:
    """Every package that the catalogue names: what gpu_facts looks up in the package database."""
    names: set[str] = set()
    for distribution in catalog["distributions"]:
        for stream in distribution["kernel"]["streams"]:
            names |= {stream["package"], *stream.get("aliases", [])}
        names |= {distribution["firmware"]["package"], *distribution["runtime_packages"]}
        names |= {*distribution["rootless_packages"], *distribution["docker_packages"]}
    for channel in catalog["rocm_channels"]:
        for package in channel["packages"]:
            names |= {package["name"].replace("{gfx}", gfx) for gfx in channel["gfx"]}
    return sorted(names)


def catalog_secret_files(catalog: Json) -> dict[str, str]:
    """Files with the API key that some engine wants beside the key itself: name → text."""
    keys = [engine["secrets"]["api_key"] for engine in catalog["engines"].values()
            if "secrets" in engine]  # fmt: skip
    tables = [table for key in keys for table in (key, key.get("older") or {"files": {}})]
    return {name: text for table in tables for name, text in table["files"].items()}


def catalog_pci_ids(catalog: Json) -> dict[str, str]:
    """PCI device id → target name."""
    return {entry["pci_id"]: entry["gfx"] for entry in catalog["products"]}


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "check_settings": check_settings,
            "catalog_packages": catalog_packages,
            "catalog_pci_ids": catalog_pci_ids,
            "catalog_secret_files": catalog_secret_files,
        }
