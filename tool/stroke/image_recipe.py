"""What an image is built from: an entry of the catalogue becomes a Containerfile. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import StrokeError

USER = 10001
GENERIC = "generic"
_TEMPLATES = Path(__file__).parent / "templates"
_REFERENCE = re.compile(r"[a-z0-9][\w./:-]*[\w](@sha256:[0-9a-f]{64})?")
_SECRET = re.compile(r"(?i)\b(?:ARG|ENV)\b[^\n]*?(\w*(?:TOKEN|SECRET|PASSWORD|API_?KEY)\w*)")
_SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{16,}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One image to build: its text and what it is called."""

    build: Mapping[str, Any]
    gfx: tuple[str, ...]
    base: str
    tag: str
    text: str

    @property
    def warnings(self) -> list[str]:
        """What is not as firm as it could be."""
        found = []
        if "@sha256:" not in self.base:
            found.append(f"the base {self.base} is pinned by its tag only; --base NAME@sha256:…")
        if self.build["confidence"] == "low":
            found.append(f"confidence low, and why: stroke catalog {self.build['id']}")
        return found


def choose(builds: Sequence[Mapping[str, Any]], wanted: str) -> Mapping[str, Any]:
    """The build of a target: its own, else the one for many targets that has it."""
    own = [build for build in builds if list(build["gfx"]) == [wanted]]
    shared = [b for b in builds if len(b["gfx"]) > 1 and wanted in (GENERIC, *b["gfx"])]
    for build in (*own, *shared):
        return build
    known = sorted({GENERIC, *(gfx for build in builds for gfx in build["gfx"])})
    raise StrokeError(
        f"no image build has code for {wanted}",
        code="STK-635",
        hint=f"--gfx takes one of: {', '.join(known)}; stroke catalog image_builds explains them",
    )


def recipe(
    builds: Sequence[Mapping[str, Any]],
    wanted: str,
    *,
    base: str | None = None,
    tag: str | None = None,
    wheels: bool = False,
) -> Recipe:
    """Render the Containerfile; with `wheels` everything comes from a directory, not an index."""
    import jinja2

    build = choose(builds, wanted)
    gfx = tuple(build["gfx"]) if wanted == GENERIC or len(build["gfx"]) == 1 else (wanted,)
    chosen = base or "@".join(part for part in (build["base"], build["base_digest"]) if part)
    name = tag or f"localhost/stroke/vllm:{build['vllm']}-{wanted}-rocm{build['rocm']}"
    for option, reference in (("--base", chosen), ("--tag", name)):
        if not _REFERENCE.fullmatch(reference):
            raise StrokeError(
                f"{option} {reference} is no image reference",
                code="STK-636",
                hint="write it as registry/name:tag or registry/name@sha256:…",
            )
    requirements = [str(one).replace("{gfx}", gfx[0]) for one in build["requirements"]]
    indexes = " ".join(f"--extra-index-url={index}" for index in build["indexes"])
    environment = jinja2.Environment(  # nosec B701
        loader=jinja2.FileSystemLoader(os.fspath(_TEMPLATES)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  no HTML
    )
    text = environment.get_template("Containerfile.j2").render(
        build=build,
        gfx=gfx,
        base=chosen,
        wheels=wheels,
        requirements=requirements,
        extra=[f"vllm=={build['vllm']}"] if build["kind"] == "source" else [],
        places="--no-index --find-links=/wheels" if wheels else indexes,
        mount="--mount=type=bind,source=wheels,target=/wheels " if wheels else "",
        environment=build["environment"],
        jobs=os.cpu_count() or 1,
        user=USER,
    )
    made = Recipe(build, gfx, chosen, name, text)
    refuse(list(faults(made.text)))
    return made


def faults(text: str) -> Iterator[str]:
    """What no Containerfile of ours may have; each as a sentence."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "FROM" and (":latest" in rest or not re.search(r"[:@]", rest.split()[0])):
            yield f"{rest}: a base without a version changes from one build to the next"
        if word == "ADD":
            yield f"ADD {rest}: what it fetches is not pinned; use RUN with a checksum, or COPY"
        if "pip install" in line:
            yield from _unpinned(line)
        if "git clone" in line and "--branch=" not in line:
            yield "git clone without a tag takes whatever is newest"
        if "apt-get install" in line and "rm -rf /var/lib/apt/lists" not in line:
            yield "the package lists stay in the layer"
        if re.search(r"--privileged|--security=insecure|--allow[ =]security", line):
            yield "the build asks for a privilege"
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    if not users or users[-1].split(":")[0] in ("root", "0") or not users[-1][0].isdigit():
        yield "the image does not end with a numeric user that is not root"
    for found in _SECRET.finditer("\n".join(lines)):
        yield f"{found[1]} would stay in the image's history"
    if _SECRET_VALUE.search(text):
        yield "a token or a key stands in the text"


def _unpinned(line: str) -> Iterator[str]:
    words = [word.strip('"') for word in line.split("pip install", 1)[1].split()]
    for word in words:
        if word in ("&&", "||", ";"):
            return
        if not word.startswith("-") and "==" not in word and not word.startswith("/dist/"):
            yield f"pip installs {word} without a version"


def refuse(found: Sequence[str]) -> None:
    """Raise what faults() found."""
    if found:
        raise StrokeError(
            f"this image would not be sound: {'; '.join(found)}",
            code="STK-636",
            hint="mend the entry: stroke catalog image_builds",
        )
