"""Takes secrets and addresses out of text of any form: logs, messages, reports.

Files whose form is known are in anonymous.py; both use the same stand-ins for the same words.
Doing it twice changes nothing, so that the controller may do it again.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Callable

from .anonymous import ADDRESS, GONE, LOGIN, MAC, SERVER, Names

_KEY = (r"(?:pass(?:word|wd|phrase)?|secret|token|credentials?|authorization|cookie|"
        r"(?:api|access|private|secret|auth)[_-]?key)")  # fmt: skip
# name=value, "name": "value", also inside of a quoted document, where quotes have a backslash.
_VALUE = re.compile(
    rf"(?i)(?<![\w.-])([\w.-]{{0,60}}{_KEY}\\*[\"']?\s*[:=]\s*)((?:bearer|basic|token)\s+)?"
    r"(\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}\]]+)"
)
_OPTION = re.compile(rf"(?i)(--[\w-]*{_KEY}\s+|\b(?:bearer|basic)\s+)([^\s\"',;]+)")
# Not secrets: a number of tokens, a switch, the name of a file.
_PLAIN = re.compile(r"(?i)\\?[\"']?(?:true|false|yes|no|none|null|\d*|\(removed\)|/[^\s\"']*)"
                    r"\\?[\"']?[.)]?\Z")  # fmt: skip
_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|\Z)", re.DOTALL)
_TOKENS = re.compile(
    r"\b(?:hf_\w{10,}|sk-[\w-]{10,}|gh[opusr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{10,}|"
    r"xox[abprs]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{30,}|dckr_pat_[\w-]{20,}|"
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
)
_SSH_KEY = re.compile(r"\b((?:ssh|ecdsa|sk)-[a-z0-9@.-]+ )AAAA[A-Za-z0-9+/=]{20,}(?: [^\s\"']+)?")
# Long, and of every kind of letter: no digest, no path, no name of a model is like that.
_RANDOM = re.compile(
    r"(?<![\w+/.=-])(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d\w*\d\w*\d)[A-Za-z0-9_]{32,}(?![\w/.-])"
)
_V6 = re.compile(
    r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}"
    r"(?:[0-9A-Fa-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
)
_MAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@(?!(?:[\w.-]+\.)?example\b)(?=[\w-]+\.[a-z])[\w.-]+\b"
)
_SERIAL = re.compile(r"(?i)(serial(?:\s?number|no)?[\"']?\s*[:=]\s*[\"']?)([^\s\"',;]{4,})")


class Scrub:
    """The rules, with the words that only this host has."""

    def __init__(self, names: Names) -> None:
        self.names = names

    def text(self, text: str) -> str:
        """The text as it may leave; nothing in it says whose host it was."""
        text = self.names.words_out(text)
        text = self._sub(_BLOCK, lambda m: GONE, text)
        text = self._sub(_SSH_KEY, lambda m: m[1] + GONE, text)
        text = self._sub(_TOKENS, lambda m: GONE, text)
        text = _VALUE.sub(self._value, text)
        text = _OPTION.sub(self._option, text)
        text = self._sub(_RANDOM, lambda m: GONE, text)
        text = self._sub(_SERIAL, lambda m: m[1] + GONE, text)
        text = LOGIN.sub("", text)
        text = SERVER.sub(self.names.server, text)
        text = _MAIL.sub(lambda m: self.names.new("mail", m[0], lambda n: f"mail{n}@example"), text)
        text = self.addresses(MAC.sub(self.names.mac, text))
        return self.names.text(text)

    def addresses(self, text: str) -> str:
        """IP addresses of both versions; loopback and “any” say nothing of anybody."""
        return _V6.sub(self._v6, ADDRESS.sub(self.names.address, text))

    def data(self, value: Any) -> Any:
        """The same for a document: every text in it, and the names of its keys."""
        if isinstance(value, dict):
            return {self.text(str(key)): self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.data(item) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _entry(self, key: str, item: Any) -> Any:
        """A secret is known by its key, which its text does not have with it."""
        if isinstance(item, str) and item and self._is_secret(key, item):
            return self._counted(GONE)
        return self.data(item)

    def _is_secret(self, key: str, item: str) -> bool:
        return bool(re.search(rf"(?i){_KEY}\Z", key)) and not _PLAIN.match(item)

    def _value(self, match: Any) -> str:
        if _PLAIN.match(match[3]):
            return str(match[0])
        return self._counted(f"{match[1]}{GONE}")

    def _option(self, match: Any) -> str:
        return str(match[0]) if _PLAIN.match(match[2]) else self._counted(f"{match[1]}{GONE}")

    def _v6(self, match: Any) -> str:
        try:
            address = ipaddress.ip_address(match[0])
        except ValueError:
            return str(match[0])
        if address.is_loopback or address.is_unspecified or match[0].startswith("2001:db8::"):
            return str(match[0])
        return self.names.new("address", match[0], lambda n: f"2001:db8::{n:x}")

    def _sub(self, rule: Any, form: Callable[[Any], str], text: str) -> str:
        text, number = rule.subn(form, text)
        return self._counted(text, number)

    def _counted(self, text: str, number: int = 1) -> str:
        if number:
            self.names.replaced["secret"] = self.names.replaced.get("secret", 0) + number
        return text
