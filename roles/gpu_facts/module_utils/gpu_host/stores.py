"""Images of a host by name: those of the system's Podman, of a user's Podman, and of Docker."""

from __future__ import annotations

import json
import os
import pwd
import re
from typing import Any

from .files import Host
from .programs import as_user, run

PODMAN = "/var/lib/containers/storage"
DOCKER = "/var/lib/docker/image"
DRIVERS = ("overlay", "overlay2", "vfs", "btrfs")


def store(item: dict[str, Any]) -> str:
    """Name of the store that an item's image is in: podman, podman of a user, or docker."""
    runtime, user = str(item.get("runtime") or "podman"), item.get("user")
    return f"{runtime}:{user}" if user else runtime


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


def parse_repositories(text: str) -> dict[str, str]:
    """The same from Docker's index of one storage driver."""
    return {
        str(name): str(image_id)
        for names in (json.loads(text).get("Repositories") or {}).values()
        for name, image_id in names.items()
    }


def parse_images(text: str) -> dict[str, str]:
    """The same from `podman images` lines `repository:tag repository@digest id`."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3:
            found[words[0]] = found[words[1]] = words[2]
    return found


def _indices(host: Host, runtime: str, user: str | None) -> dict[str, str]:
    if runtime == "docker":
        parse, paths = parse_repositories, [f"{DOCKER}/{d}/repositories.json" for d in DRIVERS]
    else:
        root = PODMAN
        if user:
            try:
                root = f"{pwd.getpwnam(user).pw_dir}/.local/share/containers/storage"
            except KeyError:
                return {}
        parse, paths = parse_store, [f"{root}/{d}-images/images.json" for d in DRIVERS]
    known: dict[str, str] = {}
    for path in paths:
        text = host.text(path)
        if text:
            known.update(host.guarded("image store", {}, parse, text))
    return known


def stored_images(
    host: Host, runtime: str = "podman", user: str | None = None
) -> dict[str, str] | None:
    """Every image of a store by name, from its own index; null for who may not look."""
    if host.live and os.geteuid() != 0:  # an ordinary user sees a store of his own
        return None
    return _indices(host, runtime, user)


def stores(host: Host, wanted: list[dict[str, Any]]) -> dict[str, dict[str, str] | None]:
    """The stores that a look asks for, by their name; the system's Podman is looked at anyway."""
    return {
        store(one): stored_images(host, one["runtime"], one.get("user"))
        for one in wanted
        if store(one) != "podman"
    }


def _find(known: dict[str, str], reference: str) -> str | None:
    name = full_reference(reference)
    candidates = (name, f"localhost/{name}", f"docker.io/{name}", f"docker.io/library/{name}")
    # Docker leaves its own registry's name out.
    short = tuple(re.sub(r"^docker\.io/(library/)?", "", candidate) for candidate in candidates[:1])
    return next((known[one] for one in (*candidates, *short) if one in known), None)


def images(host: Host, items: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Image ids by store and reference: a store's own index first, since Podman starts slowly."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    form = "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}} {{.ID}}"
    for name in sorted({store(item) for item in items}):
        mine = [item for item in items if store(item) == name]
        runtime, user = str(mine[0].get("runtime") or "podman"), mine[0].get("user")
        known = stored_images(host, runtime, user)
        references = [str(item.get("reference")) for item in mine]
        if known is not None and any(_find(known, reference) is None for reference in references):
            try:
                command = as_user(user, runtime, "images", "--no-trunc", "--format", form)
                known.update(parse_images(run(host, *command) or ""))
            except LookupError:
                known = {}
        for reference in references:
            image_id = None if known is None else _find(known, reference)
            exists = None if known is None else image_id is not None
            found[name, reference] = {"exists": exists, "image_id": image_id}
    return found
