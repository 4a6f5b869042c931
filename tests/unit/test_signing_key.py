"""The signing key of a repository: fingerprint and refusals."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.plugins import plugin

rocm = plugin("rocm", "rocm")

FINGERPRINT = "D0AE89C68B2D0DB3427C334F088347CD92023C94"
KEY = """-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawEI6hYJKwYBBAHaRw8BAQdALjS02dr/J/kkW+Vbr7GfhhzRMqrduA2jwg90
o/e0f6q0I1Rlc3QgcmVwb3NpdG9yeSA8dGVzdEByZXBvLmludmFsaWQ+iJAEExYI
ADgWIQTQronGiy0Ns0J8M08Ig0fNkgI8lAUCawEI6gIbAwULCQgHAgYVCgkICwIE
FgIDAQIeAQIXgAAKCRAIg0fNkgI8lBtxAQDZFe9AmevYAzMl8FgN2cBg/rM6WNao
eO156uIBj6oBsAEA+7+do8vMWUy81dNBeGP+b4WQFxFPreIXJ6jXbXgcIAE=
=aKwP
-----END PGP PUBLIC KEY BLOCK-----
"""


def repository(fingerprint: str = FINGERPRINT) -> dict[str, str]:
    return {
        "key_url": "http://repo.invalid/key",
        "key_fingerprint": fingerprint,
        "uri": "http://repo.invalid/rocm",
        "suite": "noble",
    }


def test_the_fingerprint_is_the_one_that_gpg_shows() -> None:
    assert rocm.openpgp_fingerprint(KEY) == FINGERPRINT


@pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")
def test_a_large_rsa_key_has_the_fingerprint_that_gpg_shows(tmp_path: Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    new = [*gpg, "--passphrase", "", "--quick-generate-key", "x <x@x.invalid>", "rsa2048", "sign"]
    subprocess.run(new, check=True, capture_output=True)
    listed = subprocess.run(
        [*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True
    ).stdout
    shown = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    exported = subprocess.run(
        [*gpg, "--armor", "--export"], check=True, capture_output=True, text=True
    ).stdout
    assert rocm.openpgp_fingerprint(exported) == shown


def problem(rc: int = 0, stdout: str = KEY, stderr: str = "", pinned: str = FINGERPRINT) -> str:
    result = {"rc": rc, "stdout": stdout, "stderr": stderr}
    return str(rocm.repository_problem(result, repository(pinned)))


def test_the_pinned_key_is_no_problem() -> None:
    assert problem() == ""
    spaced = " ".join(FINGERPRINT[i : i + 4] for i in range(0, 40, 4)).lower()
    assert problem(pinned=spaced) == ""


def test_another_key_is_refused_with_both_fingerprints() -> None:
    said = problem(pinned="A" * 40)
    assert said.startswith("STK-406")
    assert FINGERPRINT in said
    assert "A" * 40 in said


@pytest.mark.parametrize(
    "content",
    ["", "<html>not found</html>", KEY[:200], KEY.replace("m", "!"), KEY.splitlines()[0]],
)
def test_something_that_is_no_key_is_refused(content: str) -> None:
    assert problem(stdout=content).startswith("STK-406")


def test_a_key_that_cannot_be_fetched_names_the_address() -> None:
    said = problem(rc=10, stdout="", stderr="E: Failed to fetch http://repo.invalid/key")
    assert said.startswith("STK-414")
    assert "http://repo.invalid/key" in said


def test_a_repository_that_another_key_signs_is_refused() -> None:
    said = problem(rc=20, stderr="W: GPG error: NO_PUBKEY 1234\nE: The repository is not signed.")
    assert said.startswith("STK-406")


def test_a_repository_that_is_not_there_is_no_matter_of_keys() -> None:
    said = problem(rc=20, stderr="E: Failed to fetch http://repo.invalid/Release 404 Not Found")
    assert said.startswith("STK-414")
