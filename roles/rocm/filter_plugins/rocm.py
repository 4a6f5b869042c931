"""The signing key of a repository, checked on the controller before a host trusts it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Any

Json = dict[str, Any]

PUBLIC_KEY_PACKET = 6  # RFC 9580, section 5.5.1.1
NO_KEY = 10  # exit code of files/try_repository*.sh
# What apt, dnf and rpm say of a signature that is missing or somebody else's.
UNSIGNED = (
    *("NO_PUBKEY", "not signed", "signature", "Sub-process /usr/bin/sqv"),
    *("GPG", "NOKEY", "Signature", "public key"),
)


def _dearmor(text: str) -> bytes:
    """The binary key inside an ASCII armour (RFC 9580, section 6)."""
    lines = [line.strip() for line in text.strip().splitlines()]
    begin = lines.index("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    end = lines.index("-----END PGP PUBLIC KEY BLOCK-----")
    block = lines[begin + 1 : end]
    if "" in block:
        block = block[block.index("") + 1 :]
    data = "".join(line for line in block if not line.startswith("="))
    return base64.b64decode(data, validate=True)


def openpgp_fingerprint(text: str) -> str:
    """Fingerprint of the primary key in an armoured public key (version 4), upper case."""
    data = _dearmor(text)
    head = data[0]
    if head & 0x40:
        tag, first = head & 0x3F, data[1]
        if first < 192:
            start, length = 2, first
        elif first < 224:
            start, length = 3, ((first - 192) << 8) + data[2] + 192
        else:
            start, length = 6, int.from_bytes(data[2:6], "big")
    else:
        size = 1 << (head & 0x03)
        tag, start, length = (head >> 2) & 0x0F, 1 + size, int.from_bytes(data[1 : 1 + size], "big")
    body = data[start : start + length]
    if tag != PUBLIC_KEY_PACKET or len(body) != length or body[0] != 4:
        raise ValueError("it is not an OpenPGP public key of version 4")
    prefix = b"\x99" + length.to_bytes(2, "big")
    return hashlib.sha1(prefix + body, usedforsecurity=False).hexdigest().upper()


def repository_problem(tried: Json, repository: Json) -> str:
    """Why a repository must not be trusted, as a failure message; empty when it may.

    `tried` is the result of files/try_repository*.sh, whose exit codes they document.
    """
    url, wanted = repository["key_url"], str(repository["key_fingerprint"]).replace(" ", "").upper()
    said = " ".join(str(tried.get("stderr", "")).split())
    if tried["rc"] == NO_KEY:
        return (
            f"STK-414: the key of the ROCm repository cannot be fetched from {url} ({said}). "
            f"Hint: on the host try curl -I {url}"
        )
    try:
        found = openpgp_fingerprint(str(tried.get("stdout", "")))
    except (ValueError, IndexError, binascii.Error) as problem:
        return (
            f"STK-406: {url} is not a signing key ({problem}). "
            "Hint: rocm_key_url names an armoured public key"
        )
    if found != wanted:
        return (
            f"STK-406: the key at {url} has the fingerprint {found}, but {wanted} is pinned. "
            "Hint: ask who runs the repository; set rocm_key_fingerprint only to what they confirm"
        )
    if tried["rc"] == 0:
        return ""
    place = f"{repository['uri']} {repository.get('suite') or ''}".strip()
    if any(word in said for word in UNSIGNED):
        return (
            f"STK-406: the ROCm repository {place} is not signed by the key {wanted} ({said}). "
            "Hint: rocm_key_url and rocm_key_fingerprint name the key that signs this repository"
        )
    return (
        f"STK-414: the ROCm repository {place} cannot be read ({said}). "
        "Hint: check rocm_mirror_uri and rocm_mirror_suite, and that the host reaches them"
    )


def rpm_specifiers(packages: list[Json]) -> list[str]:
    """Packages as dnf takes them: `name-1.2*` for a version, else the name."""
    return [f"{one['name']}-{one['version']}" if one.get("version") else one["name"]
            for one in packages]  # fmt: skip


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {
            "openpgp_fingerprint": openpgp_fingerprint,
            "repository_problem": repository_problem,
            "rpm_specifiers": rpm_specifiers,
        }
