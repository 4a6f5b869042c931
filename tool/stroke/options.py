"""What the user typed, and how it would be typed again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from .bench_settings import Settings as Bench

# What ansible-playbook would ask later, when nobody can answer: option, its prompt, our question.
PROMPTS = (
    (("-K", "--ask-become-pass"), r"BECOME password.*:\s*$", "sudo password on the hosts"),
    (("-k", "--ask-pass"), r"SSH password:\s*$", "SSH password of the hosts"),
    (
        ("-J", "--ask-vault-pass", "--ask-vault-password"),
        r"Vault password.*:\s*$",
        "vault password",
    ),
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of every command that runs a playbook."""

    hosts: tuple[str, ...] = ()
    limit: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    check: bool = False
    diff: bool = False
    extra_vars: tuple[str, ...] = ()
    ask_become_pass: bool = False
    forks: int | None = None
    yes: bool = False
    full: bool = False
    as_json: bool = False
    detailed_exitcode: bool = False
    packages: bool = False
    after_reboot: str | None = None
    keep: Path | None = None
    debug: bool = False
    capture: Path | None = None
    output: Path | None = None
    keep_host_names: bool = False
    junit: Path | None = None
    bench: Bench | None = None
    canary: str | None = None
    wave: str | None = None
    max_failures: str | None = None
    resume: bool = False
    to: int | None = None
    listed: bool = False
    passthrough: tuple[str, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """Our flags that ansible-playbook knows by the same name."""
        return ("--ask-become-pass",) if self.ask_become_pass else ()

    @property
    def prompts(self) -> tuple[tuple[str, str], ...]:
        """Prompt pattern and question for each password that ansible is going to ask for."""
        given = {*self.flags, *self.passthrough}
        return tuple((prompt, question) for names, prompt, question in PROMPTS if given & {*names})

    def again(self, command: str, *, same: bool = False) -> str:
        """Return the command line of a command on the same hosts; `same` keeps every option."""
        words = ["stroke", *command.split(), *self.hosts]
        if self.limit:
            words += ["-l", ",".join(self.limit)]
        if self.tags and same:
            words += ["-t", ",".join(self.tags)]
        for setting in self.extra_vars:
            words += ["-e", setting]
        if self.full and same:
            words.append("--full")
        for name in ("to", "after_reboot", "canary", "wave", "max_failures", "forks"):
            if same and (value := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        if self.ask_become_pass:
            words.append("-K")
        if same and self.packages and "--packages" not in words:
            words.append("--packages")
        if self.passthrough:
            words += ["--", *self.passthrough]
        return shlex.join(words)
