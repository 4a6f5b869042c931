"""Secrets that a user gives, and the question to the host whether it has them."""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path
from typing import Any

Json = dict[str, Any]

# What every program, proxy and HTTP header takes as it is; shorter ones can be guessed.
SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
ROUNDS = 20_000  # of PBKDF2, here and in the module: guessing a weak secret takes long


def _problem(what: str, hint: str) -> Json:
    return {"code": "STK-445", "what": what, "hint": hint}


def given_secret(value: Any, file: str | None, variable: str) -> Json:
    """The secret that the user gives, as text or as a file of the controller: value or problem."""
    if value and file:
        what = f"{variable} and {variable}_file are both set"
        return {"value": None, "problems": [_problem(what, "leave one of them out")]}
    if file:
        path = Path(file).expanduser()
        try:
            value = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            what = f"{variable}_file: {path} cannot be read on this machine ({reason})"
            return {"value": None, "problems": [_problem(what, f"ls -l {path}")]}
        variable = f"{variable}_file"
        value = value or "?"  # an empty file is no key, not the absence of one
    text = str(value or "")
    if text and not SECRET.fullmatch(text):
        what = f"{variable}: {len(text)} characters that are no usable secret"
        hint = f"one line that matches {SECRET.pattern}, such as openssl rand -hex 32 makes"
        return {"value": None, "problems": [_problem(what, hint)]}
    return {"value": text or None, "problems": []}


def fingerprint(text: str, salt: str) -> str:
    """What the host compares a file with: tells nothing of the text without many guesses."""
    return hashlib.pbkdf2_hmac("sha256", text.encode(), salt.encode(), ROUNDS).hex()


def secret_look(path: str, value: str | None, derived: dict[str, str] | None = None) -> Json:
    """What the host is asked of a secret file: is it this one, and do others have the same?

    The host answers yes or no. `derived` are paths to text with {key} for what is in `path`.
    """
    look: Json = {"path": path, "derived": derived or {}, "salt": "", "digest": ""}
    if value:
        look["salt"] = secrets.token_hex(16)
        look["digest"] = fingerprint(f"{value}\n", look["salt"])
    return look


class FilterModule:
    """Registers the filters with Ansible."""

    def filters(self) -> Json:
        return {"given_secret": given_secret, "secret_look": secret_look}
