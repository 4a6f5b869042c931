"""The catalogue: shipped files, with what a site adds to them or sets anew."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .schema_check import problems
from .yaml_size import too_large

Json = dict[str, Any]

# libyaml where it is: the catalogue is read for every host.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What tells the entries of a list apart.
IDENTITY = {
    "gfx": ("name",),
    "products": ("pci_id", "revision"),
    "boot_arguments": ("key",),
    "boot_rules": ("kind",),
    "boot_trial": ("argument",),
    "images": ("reference",),
    "image_tags": ("repository",),
}
DEFAULT_IDENTITY = ("id",)
# What a file can be that is not a catalogue file: unreadable, no YAML, or of another form.
UNREADABLE = (OSError, ValueError, yaml.YAMLError, TypeError, KeyError, RecursionError)
# Key under which a merged catalogue says what of it is the site's.
SITE = "site"


def _read(path: Path, *, measured: bool = False) -> Any:
    """What a file says; one that is not ours is measured before anything expands it."""
    if measured and (reason := too_large(path.read_text(encoding="utf-8"))):
        raise ValueError(f"{path.name} is not read: {reason}")
    # Its loader is one of the safe ones, made of C where there is one.
    return yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  # nosec B506


def load_shipped(directory: Path) -> Json:
    """Merge every *.yml of a directory; top-level keys are unique across files."""
    catalog: Json = {}
    for path in sorted(directory.glob("*.yml")):
        part = _read(path)
        clash = set(part) & set(catalog)
        if clash:
            names = ", ".join(sorted(clash))
            raise ValueError(f"{path}: {names} is defined twice in the catalogue")
        catalog.update(part)
    return catalog


def _identity(section: str, entry: Json) -> str:
    keys = IDENTITY.get(section, DEFAULT_IDENTITY)
    return "-".join(str(entry[key]) for key in keys if entry.get(key) is not None)


def _deep(old: Any, new: Any) -> Any:
    """Tables are merged, everything else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _deep(old.get(key), value) for key, value in new.items()}
    return new


def _merged(old: Json | None, new: Json, origin: str) -> Json:
    """The site vouches for what it changes: source and confidence are its own."""
    ours = {"source": f"the site's own catalogue, {origin}", "confidence": "site"}
    entry: Json = _deep(old or {}, ours | new)
    return entry


def overlay(catalog: Json, part: Json, origin: str) -> tuple[Json, list[str]]:
    """The catalogue with a site's file laid over it, and the names of the entries that it sets.

    Raises TypeError or KeyError with a sentence where the file does not have the form of a
    catalogue file.
    """
    result, names = dict(catalog), []
    for section, given in part.items():
        old = catalog.get(section)
        if old is None:
            raise KeyError(f"{section} is no section of the catalogue")
        if isinstance(old, list):
            if not isinstance(given, list) or not all(isinstance(e, dict) for e in given):
                raise TypeError(f"{section} has to be a list of entries")
            entries = {_identity(section, entry): entry for entry in old}
            for entry in given:
                missing = [
                    key for key in IDENTITY.get(section, DEFAULT_IDENTITY) if key not in entry
                ]
                if missing:
                    raise KeyError(f"an entry of {section} has no {missing[0]}")
                name = _identity(section, entry)
                entries[name] = _merged(entries.get(name), entry, origin)
                names.append(f"{section}/{name}")
            # New entries come first: where the first that fits counts, the site's own does.
            known = [_identity(section, entry) for entry in old]
            result[section] = [e for n, e in entries.items() if n not in known]
            result[section] += [entries[name] for name in known]
        elif not isinstance(given, dict):
            raise TypeError(f"{section} has to be a table")
        elif "source" in old:
            result[section] = _merged(old, given, origin)
            names.append(section)
        elif section == "engines":
            for name, entry in given.items():
                if not isinstance(entry, dict):
                    raise TypeError(f"{section}.{name} has to be a table")
            result[section] = old | {
                name: _merged(old.get(name), entry, origin) for name, entry in given.items()
            }
            names += [f"{section}/{name}" for name in given]
        else:
            result[section] = _deep(old, given)
            names.append(section)
    return result, names


def dangling(catalog: Json) -> Iterator[str]:
    """References to entries that are not there, and patterns that are none."""
    ids = {
        section: {_identity(section, entry) for entry in entries}
        for section, entries in catalog.items()
        if isinstance(entries, list)
    }
    ids["engines"] = set(catalog["engines"])
    ids["kind"] = ids["boot_rules"]

    def check(where: str, section: str, wanted: Any) -> Iterator[str]:
        for name in wanted if isinstance(wanted, list) else [wanted]:
            if name not in ids[section]:
                yield f"{where}: {name} is not in {section}"

    for gfx in catalog["gfx"]:
        where = f"gfx[{gfx['name']}]"
        for key, section in (
            ("kernel_rule", "kernel_rules"), ("firmware_rule", "firmware_rules"),
            ("memory_rule", "memory_rules"), ("support", "support_matrix"),
            ("engine", "engines"), ("kind", "kind"),
        ):  # fmt: skip
            yield from check(where, section, gfx[key])
        if not gfx.get("serves", True) and not gfx.get("not_serving"):
            yield f"{where}: serves is false, and not_serving does not say why"
    for section in ("products", "kernel_rocm", "rocm_channels", "images"):
        for entry in catalog[section]:
            yield from check(f"{section}[{_identity(section, entry)}]", "gfx", entry["gfx"])
    for name, engine in catalog["engines"].items():
        yield from check(f"engines[{name}]", "images", engine["image"])
    for section in ("images", "image_tags"):
        for entry in catalog[section]:
            yield from check(f"{section}[{_identity(section, entry)}]", "engines", entry["engine"])
    for section, key in (
        ("kernel_rules", "streams"), ("firmware_rules", "packages"),
        ("support_matrix", "official"), ("rocm_channels", "distributions"),
    ):  # fmt: skip
        for entry in catalog[section]:
            where = f"{section}[{entry['id']}].{key}"
            for row in entry.get(key, []):
                yield from check(where, "distributions", row["distribution"])
                if "stream" in row and not _has_stream(catalog, row):
                    yield f"{where}: {row['distribution']} has no stream {row['stream']}"
    for rule in catalog["firmware_rules"]:
        yield from check(f"firmware_rules[{rule['id']}]", "gfx", rule["deny_mes_gfx"])
    for problem in catalog["known_problems"]:
        where = f"known_problems[{problem['id']}]"
        yield from check(where, "gfx", problem["when"].get("gfx", []))
        yield from check(where, "kind", problem["when"].get("kind", []))
    for name, known in catalog["engine_arguments"].items():
        yield from check("engine_arguments", "engines", name)
        for entry in [*known["arguments"], *known["environment"]]:
            for key in ("from", "until"):
                if key in entry and entry[key] not in known["versions"]:
                    what = entry.get("flag") or entry["names"][0]
                    yield f"engine_arguments[{name}].{what}: {entry[key]} is not in versions"
    for model in catalog["models"]:
        yield from check(f"models[{model['id']}]", "engines", model["engines"])
        for row in model.get("bad", []):
            yield from check(f"models[{model['id']}].bad", "gfx", row["gfx"])
    for rule in catalog["serving_budgets"]:
        yield from check(f"serving_budgets[{rule['id']}]", "engines", rule["engine"])
    for case in catalog["roofline_cases"]:
        where, match = f"roofline_cases[{case['id']}]", case["match"]
        yield from check(where, "engines", match["engine"])
        yield from check(where, "gfx", match.get("gfx", []))
        yield from check(where, "kind", match.get("kind", []))
    for row in catalog["roofline_measurements"]:
        yield from check(f"roofline_measurements[{row['id']}]", "roofline_cases", row["case"])
    yield from _bad_patterns(catalog)


def _has_stream(catalog: Json, row: Json) -> bool:
    return any(
        stream["name"] == row["stream"]
        for entry in catalog["distributions"]
        if entry["id"] == row["distribution"]
        for stream in entry["kernel"]["streams"]
    )


def _bad_patterns(catalog: Json) -> Iterator[str]:
    patterns = [
        (f"distributions[{entry['id']}]", stream.get(key))
        for entry in catalog["distributions"]
        for stream in entry["kernel"]["streams"]
        for key in ("match_release", "match_version")
    ]
    patterns += [
        (f"known_problems[{entry['id']}]", entry["when"].get(key))
        for entry in catalog["known_problems"]
        for key in ("release", "image_rocm")
    ]
    patterns += [
        (f"image_tags[{entry['repository']}]", entry[key])
        for entry in catalog["image_tags"]
        for key in ("tag", "version")
    ]
    for where, pattern in patterns:
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            yield f"{where}: {pattern!r} is no pattern: {error}"
            continue
        if where.startswith("image_tags") and groups != 1:
            yield f"{where}: {pattern!r} has to have one group"


def _site_files(directory: Path) -> tuple[list[Path], str | None]:
    try:
        if not directory.is_dir():
            return [], f"{directory} is not a directory"
        return sorted(directory.glob("*.yml")), None
    except OSError as error:
        return [], str(error)


def with_site(catalog: Json, schema: Json, directory: Path) -> Json:
    """The catalogue with a site's directory laid over it.

    A file that is wrong is left out and its problems are kept under `site`; resolve() makes
    refusals of them, so that a host is never worked on with half of what its owner wrote.
    """
    found: list[str] = []
    overridden: list[str] = []
    files, trouble = _site_files(directory)
    if trouble:
        found.append(trouble)
    for path in files:
        try:
            part = _read(path, measured=True)
            if part is None:
                continue
            if not isinstance(part, dict):
                raise TypeError("has to be a table of sections")
            merged, names = overlay(catalog, part, path.name)
            wrong = list(problems(merged, schema))
            wrong = wrong or list(dangling(merged))
        except UNREADABLE as error:
            text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
            found.append(f"{path.name}: {' '.join(text.split())[:300]}")
            continue
        found += [f"{path.name}: {problem}" for problem in wrong[:5]]
        if not wrong:
            catalog, overridden = merged, overridden + names
    site = {"directory": str(directory), "overridden": overridden, "problems": found}
    return catalog | {SITE: site}


def load(directory: str, site_directory: str | None = None) -> Json:
    """What `catalog` means everywhere here: the shipped one, with the site's over it."""
    shipped = load_shipped(Path(directory))
    if not site_directory:
        return shipped
    schema = json.loads(
        (Path(directory).parent / "catalog.schema.json").read_text(encoding="utf-8")
    )
    return with_site(shipped, schema, Path(site_directory).expanduser())
