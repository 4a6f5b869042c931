"""Write what repeats other files: variables.md and the READMEs' tables from the roles' argument
specifications, hosts.md from the catalogue, verify.md from the table of checks, and the dashboard.

`--check` writes nothing and exits 1 where a file is out of date.
"""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
BEGIN = "<!-- variables: from meta/argument_specs.yml; run docs/generate.py after a change -->"
END = "<!-- end of variables -->"
ORDER = (
    "host_profile", "preflight", "kernel", "boot_params", "boot_guard", "rocm", "gpu_access",
    "container_runtime", "model_store", "inference_server", "tls_proxy", "metrics",
    "service_watchdog", "host_verify", "generation", "gpu_facts", "host_lock", "service_drain",
)  # fmt: skip
# Used by other roles only: a table in the README, no entry among the variables to set.
INTERNAL = ("packages",)
INTRODUCTION = """\
# Variables

Set them in the inventory, in `group_vars`, or with `-e`. All are optional. An unknown name or a
wrong type is refused before anything is changed ([STK-301, STK-302](errors.md)).

Where the default is empty, `null` or "worked out", the playbooks compute the value from the host's
facts, the catalogue and the other variables.
"""


def main_entry(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    specs = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]
    return dict(specs["main"])


def sentences(text: object) -> str:
    parts = text if isinstance(text, list) else [text]
    joined = " ".join(str(part).strip() for part in parts)
    return re.sub(r"[CVO]\((.*?)\)", r"`\1`", joined).replace("|", "\\|").replace("\n", " ")


def kind(option: dict[str, Any]) -> str:
    if "choices" in option:
        return " / ".join(f"`{plain(choice)}`" for choice in option["choices"])
    name = str(option.get("type", "str"))
    return f"{name} of {option['elements']}" if "elements" in option else name


def plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '""' if value == "" else str(value)


def real_defaults(role: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def default_of(option: dict[str, Any], real: object) -> str:
    """What the specification states, else null, else something that only a run can tell."""
    if option.get("required"):
        return "required"
    if "default" in option:
        return f"`{plain(option['default'])}`"
    return "`null`" if real is None else "worked out"


def table(role: str, options: dict[str, Any]) -> str:
    rows = ["| variable | type | default | meaning |", "| --- | --- | --- | --- |"]
    real = real_defaults(role)
    for name, option in options.items():
        default = default_of(option, real.get(name))
        meaning = sentences(option["description"])
        rows.append(f"| `{name}` | {kind(option)} | {default} | {meaning} |")
        for sub, inner in option.get("options", {}).items():
            need = "required" if inner.get("required") else ""
            rows.append(f"| &nbsp;&nbsp;`.{sub}` | {kind(inner)} | {need} "
                        f"| {sentences(inner['description'])} |")  # fmt: skip
    return "\n".join(rows)


def readme(role: str) -> str:
    """The role's README: its own words around a generated table."""
    entry = main_entry(role)
    block = f"{BEGIN}\n{table(role, entry.get('options', {}))}\n{END}"
    path = ROOT / "roles" / role / "README.md"
    if not path.is_file():
        words = sentences(entry.get("description", entry["short_description"]))
        return f"# {role}\n\n{entry['short_description']}.\n\n{words}\n\n{block}\n"
    text = path.read_text(encoding="utf-8")
    if BEGIN in text and END in text:
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        return before + block + after
    return f"{text.rstrip()}\n\n{block}\n"


def variables() -> str:
    parts = [INTRODUCTION]
    for role in ORDER:
        entry = main_entry(role)
        if options := entry.get("options"):
            parts.append(f"## {role}\n\n{entry['short_description']}.\n\n{table(role, options)}\n")
    return "\n".join(parts)


def outputs() -> dict[Path, str]:
    pages = {ROOT / "roles" / role / "README.md": readme(role) for role in (*ORDER, *INTERNAL)}
    hosts: str = runpy.run_path(str(ROOT / "docs" / "hosts.py"))["page"]()
    docs = ROOT / "docs"
    verify: str = runpy.run_path(str(docs / "verify.py"))["page"]()
    grafana: str = runpy.run_path(str(docs / "grafana" / "dashboard.py"))["page"]()
    made = {docs / "verify.md": verify, docs / "grafana" / "stroke.json": grafana}
    return {docs / "variables.md": variables(), docs / "hosts.md": hosts, **made, **pages}


def stale() -> list[Path]:
    return [
        path
        for path, text in outputs().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    wanted = outputs()
    changed = stale()
    for path in changed:
        print(path.relative_to(ROOT))
        if "--check" not in sys.argv[1:]:
            path.write_text(wanted[path], encoding="utf-8")
    return int("--check" in sys.argv[1:] and bool(changed))


if __name__ == "__main__":
    raise SystemExit(main())
