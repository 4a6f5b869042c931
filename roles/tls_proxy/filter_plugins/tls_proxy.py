"""The TLS front: its certificate, what cannot be one, and what of it is wanted on the host."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOLDER = "/etc/stroke/secrets/tls_proxy"
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
UPSTREAM = re.compile(r"([A-Za-z0-9.-]+|\[[0-9a-f:]+\]):\d{1,5}")
REQUEST_PATH = re.compile(r"/[A-Za-z0-9._/*-]*")


def _problem(what: str, hint: str) -> Json:
    return {"code": "STK-448", "what": what, "hint": hint}


def certificate_pair(certificate: str | None, key: str | None) -> Json:
    """Texts of the two files of the controller, or what is wrong with them."""
    empty: Json = {"certificate": None, "key": None, "problems": []}
    if not certificate and not key:
        return empty
    if not certificate or not key:
        what = "only one of tls_proxy_certificate_file and tls_proxy_key_file is set"
        return empty | {"problems": [_problem(what, "set both, or none of them")]}
    found = dict(empty)
    for name, file, mark in (("certificate", certificate, "CERTIFICATE-----"),
                             ("key", key, "PRIVATE KEY-----")):  # fmt: skip
        path = Path(file).expanduser()
        try:
            text = path.read_text(encoding="ascii").rstrip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            what = f"tls_proxy_{name}_file: {path} cannot be read on this machine ({reason})"
            return empty | {"problems": [_problem(what, f"ls -l {path}")]}
        if not text.startswith("-----BEGIN ") or mark not in text.splitlines()[0]:
            what = f"tls_proxy_{name}_file: {path} is no PEM file with a {name}"
            return empty | {"problems": [_problem(what, f"openssl pkey or x509 -in {path}")]}
        found[name] = text
    return found


def _address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def tls_problems(settings: Json) -> list[Json]:
    """Why there can be no front of these settings: whatever would be another line for Caddy."""
    words: list[tuple[str, list[str], Callable[[str], object]]] = [
        ("tls_proxy_names", settings["names"], lambda t: NAME.fullmatch(t) or _address(t)),
        ("tls_proxy_bind", settings["bind"], _address),
        ("tls_proxy_paths", settings["paths"], REQUEST_PATH.fullmatch),
        ("upstream in tls_proxy_sites", [site["upstream"] for site in settings["sites"]],
         UPSTREAM.fullmatch),
    ]  # fmt: skip
    found = [
        _problem(f"{variable}: {value!r} cannot be used", "see the README of the role tls_proxy")
        for variable, values, good in words
        for value in map(str, values)
        if not good(value)
    ]
    ports = [int(site["port"]) for site in settings["sites"]]
    if len(set(ports)) != len(ports) or not all(1 <= port <= 65535 for port in ports):
        found.append(_problem(f"ports in tls_proxy_sites: {ports}", "each from 1 to 65535, once"))
    return found


def site_addresses(names: list[str], port: int) -> str:
    """The first line of a site of the Caddyfile."""
    quoted = (f"[{name}]" if ":" in name else name for name in names)
    return ", ".join(f"https://{name}:{port}" for name in quoted)


def package_rules(names: list[str]) -> list[Json]:
    """Packages without a rule for their version."""
    return [{"name": name} for name in names]


def secret_pair(pair: Json) -> list[Json]:
    """The files of the given certificate with their texts."""
    return [{"path": f"{FOLDER}/{name}.pem", "content": f"{pair[name]}\n"}
            for name in ("certificate", "key")]  # fmt: skip


def front_items(wanted: bool, given: bool, packages: list[Json], files: list[Json],
                unit: str) -> list[Json]:  # fmt: skip
    """The manifest's items of the front, or of its absence."""
    base: Json = {"role": "tls_proxy", "stage": "serve"}
    root = {"mode": "0644", "owner": "root", "group": "root"}
    gone = {"state": "absent", "reason": "no front is wanted"}
    if not wanted:
        paths = [{"kind": "file", "path": file["path"]} for file in files]
        folder = {"kind": "directory", "path": FOLDER}
        return [base | gone | item for item in (*paths, folder)]
    why = {"reason": "clients reach the service over TLS"}
    items = [*packages, *(base | root | why | {"kind": "file"} | file for file in files)]
    folder = base | {"kind": "directory", "path": FOLDER}
    private: list[Json] = []
    if given:
        above = {"path": FOLDER.rpartition("/")[0], "mode": "0711"}
        items += [folder | root | why | above, folder | root | why | {"mode": "0700"}]
        private = [base | root | why | {"kind": "file", "mode": "0400", "opaque": True,
                   "path": f"{FOLDER}/{name}.pem"} for name in ("certificate", "key")]  # fmt: skip
    else:
        items.append(folder | {"state": "absent", "reason": "the front has its own certificate"})
    needs = [file["path"] for file in (*files, *private)]
    service = {"kind": "unit", "name": unit, "active": True, "needs": needs}
    return [*items, *private, base | why | service]


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "certificate_pair": certificate_pair,
            "tls_problems": tls_problems,
            "site_addresses": site_addresses,
            "package_rules": package_rules,
            "secret_pair": secret_pair,
            "front_items": front_items,
        }
