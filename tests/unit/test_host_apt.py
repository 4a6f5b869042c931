"""What the guest is told about package archives is what this machine's own apt says."""

from __future__ import annotations

import pytest
from stroke.errors import StrokeError
from stroke.host_apt import Archive, parse_archive, read_archive

TARGETS = """\
https://packages.example/deb/|noble|main
http://archive.example/debian/|bookworm|main
http://archive.example/debian/|bookworm-updates|main
http://archive.example/debian/|bookworm-backports|contrib
http://archive.example/debian-security/|bookworm-security|main
"""
SETTINGS = """\
APT::Install-Recommends "false";
Acquire::Check-Valid-Until "false";
Acquire::http::Proxy "http://localhost:3142/";
Acquire::https::CaInfo "/etc/company.pem";
"""


def test_uris_components_and_settings_are_taken_over() -> None:
    archive = parse_archive(TARGETS, SETTINGS, {})
    assert archive.uri == "http://archive.example/debian"
    assert archive.security_uri == "http://archive.example/debian-security"
    assert archive.components == ("main", "non-free-firmware")
    assert 'Acquire::Check-Valid-Until "false";' in archive.settings
    assert not any("Recommends" in setting for setting in archive.settings)


def test_the_hosts_loopback_proxy_has_the_guests_address_for_it() -> None:
    archive = parse_archive(TARGETS, SETTINGS, {})
    assert 'Acquire::http::Proxy "http://10.0.2.2:3142/";' in archive.settings
    assert 'Acquire::https::CaInfo "/etc/ssl/certs/ca-certificates.crt";' in archive.settings


def test_a_proxy_of_the_environment_counts_unless_apt_has_its_own() -> None:
    environment = {"http_proxy": "http://proxy:1", "HTTPS_PROXY": "http://proxy:2"}
    assert parse_archive(TARGETS, "", environment).settings == (
        'Acquire::http::Proxy "http://proxy:1";',
        'Acquire::https::Proxy "http://proxy:2";',
    )
    assert "proxy:1" not in parse_archive(TARGETS, SETTINGS, environment).apt_options()


def test_a_host_that_is_not_debian_has_to_name_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = "http://archive.ubuntu.example/ubuntu/|noble|main\n"
    with pytest.raises(StrokeError, match="names no Debian archive"):
        parse_archive(targets, "", {})
    monkeypatch.setenv("STROKE_DEBIAN_ARCHIVE", "http://a/debian")
    assert read_archive().uri == "http://a/debian"


def test_sources_of_a_stable_release() -> None:
    archive = Archive(uri="http://a/debian", security_uri="http://a/debian-security")
    text = archive.deb822_sources("trixie")
    first, second = text.split("\n\n")
    assert "URIs: http://a/debian\nSuites: trixie trixie-updates\n" in first
    assert "URIs: http://a/debian-security\nSuites: trixie-security\n" in second
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" in first
    assert archive.one_line_sources("trixie").splitlines()[0] == (
        "deb http://a/debian trixie main non-free-firmware"
    )


def test_sid_has_neither_updates_nor_security() -> None:
    assert Archive("http://archive.example/debian").one_line_sources("sid").count("\n") == 1
