"""Kinds of files that hold kernel arguments; all but the arguments stays, byte by byte."""

from __future__ import annotations

import re
from typing import Callable

from . import shell
from .errors import BootConfigError
from .words import Codec, plain

# <grub source>/util/grub-editenv.c: a signature, lines, and # up to a size that never changes.
GRUBENV_SIGNATURE = "# GRUB Environment Block\n"


class Document:
    """A text cut into what is left alone and the values that hold arguments."""

    def __init__(
        self, text: str, places: list[tuple[int, int]], target: int | None, *,
        codec: Codec = plain, line: str = "{}", size: int | None = None,
    ) -> None:  # fmt: skip
        self.text = text
        self.places = places
        self.values = [text[begin:end] for begin, end in places]
        # Which value gets new arguments; none: a line has to be made for them.
        self.target = target
        self.codec = codec
        self.line = line
        self.size = size

    def rendered(self, values: list[str]) -> str:
        """The text with other values; one more than there are places is a new last line."""
        parts = []
        done = 0
        for (begin, end), value in zip(self.places, values):
            parts += [self.text[done:begin], value]
            done = end
        text = "".join(parts) + self.text[done:]
        for value in values[len(self.places) :]:
            text += self._gap(text) + self.line.format(value) + "\n"
        return text if self.size is None else self._padded(text)

    def _gap(self, text: str) -> str:
        return "\n" if text and not text.endswith("\n") else ""

    def _padded(self, text: str) -> str:
        body = text.rstrip("#")
        size = self.size or 0
        if len(body.encode("utf-8", "surrogateescape")) > size:
            raise BootConfigError(
                f"the arguments do not fit into the {size} bytes of GRUB's environment",
                "remove variables that nothing uses: grub2-editenv - list",
            )
        return body + "#" * (size - len(body.encode("utf-8", "surrogateescape")))


Reader = Callable[[str], Document]


def entry(text: str) -> Document:
    """A boot entry: `options` may be there more than once, the lines are then one."""
    found = list(re.finditer(r"^[ \t]*options[ \t]+([^\r\n]*)", text, re.MULTILINE))
    places = [match.span(1) for match in found]
    return Document(text, places, len(places) - 1 if places else None, line="options {}")


def cmdline(text: str) -> Document:
    """/etc/kernel/cmdline: kernel-install joins its lines; comments between them stay."""
    places = []
    begin = 0
    for comment in re.finditer(r"^[ \t]*#[^\n]*\n?", text, re.MULTILINE):
        places.append((begin, comment.start()))
        begin = comment.end()
    places.append((begin, len(text)))
    filled = [index for index, (begin, end) in enumerate(places) if text[begin:end].strip()]
    return Document(text, places, filled[-1] if filled else len(places) - 1)


def grub_defaults(text: str) -> Document:
    """/etc/default/grub: arguments are added where they hold for every way to start."""
    found = shell.assignments(text)
    places = [(begin, end) for _, begin, end in found]
    targets = [index for index, (name, _, _) in enumerate(found) if name == shell.VARIABLES[0]]
    return Document(
        text, places, targets[-1] if targets else None,
        codec=shell.word, line=f'{shell.VARIABLES[0]}="{{}}"',
    )  # fmt: skip


def grubenv(text: str) -> Document:
    """GRUB's environment: `kernelopts` is what entries with $kernelopts take."""
    if not text.startswith(GRUBENV_SIGNATURE):
        raise BootConfigError("it is not an environment block of GRUB",
                              "make a new one: grub2-editenv - create")  # fmt: skip
    match = re.search(r"^kernelopts=([^\n]*)", text, re.MULTILINE)
    if not match:
        raise BootConfigError(
            "entries take $kernelopts, which it does not set",
            'set it: grub2-editenv - set "kernelopts=<the arguments that the host needs>"',
        )
    size = len(text.encode("utf-8", "surrogateescape"))
    return Document(text, [match.span(1)], 0, size=size)
