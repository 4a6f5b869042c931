"""Read this machine's own package archive settings, which the guest is given too."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from stroke.errors import StrokeError
from stroke.process import run, which

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITES = {
    *("bookworm", "trixie", "forky", "sid", "duke"),
    *("oldstable", "stable", "testing", "unstable"),
}
# Settings that decide whether an archive can be reached; everything else stays the host's own.
_SETTING = re.compile(
    r'^(Acquire::(?:Check-Valid-Until|https?::(?:Proxy|CaInfo)) ".*";)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Archive:
    """Debian's archive as this machine reaches it."""

    uri: str
    security_uri: str | None = None
    components: tuple[str, ...] = ("main", "non-free-firmware")
    settings: tuple[str, ...] = ()
    certificates: tuple[Path, ...] = ()

    def one_line_sources(self, release: str) -> str:
        """Sources for mmdebstrap, which wants them before there is a system."""
        line = f"deb {{}} {{}} {' '.join(self.components)}\n"
        return "".join(line.format(uri, suite) for uri, suite in self._suites(release))

    def deb822_sources(self, release: str) -> str:
        """The guest's debian.sources: the archive first, security updates second."""
        by_uri: dict[str, list[str]] = {}
        for uri, suite in self._suites(release):
            by_uri.setdefault(uri, []).append(suite)
        return "\n".join(
            f"Types: deb\nURIs: {uri}\nSuites: {' '.join(suites)}\n"
            f"Components: {' '.join(self.components)}\nSigned-By: {KEYRING}\n"
            for uri, suites in by_uri.items()
        )

    def apt_options(self) -> str:
        """An apt.conf fragment with the settings that the archive needs to be reached."""
        return "".join(f"{setting}\n" for setting in self.settings)

    def _suites(self, release: str) -> list[tuple[str, str]]:
        if release == "sid":
            return [(self.uri, release)]
        suites = [(self.uri, release), (self.uri, f"{release}-updates")]
        if self.security_uri:
            suites.append((self.security_uri, f"{release}-security"))
        return suites


def read_archive() -> Archive:
    """What apt on this machine uses for Debian; another system names an archive itself."""
    if named := os.environ.get("STROKE_DEBIAN_ARCHIVE"):
        return Archive(named)
    if which("apt-get") is None or which("apt-config") is None:
        raise _unknown()
    form = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)"
    targets = run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"], check=False
    ).stdout
    settings = run(["apt-config", "dump"], check=False).stdout
    return parse_archive(targets, settings, dict(os.environ))


def parse_archive(targets: str, settings: str, environment: dict[str, str]) -> Archive:
    """Fold apt's own description of its sources into the one archive that a guest needs."""
    uri = security_uri = None
    components: list[str] = []
    for line in targets.splitlines():
        address, release, component = line.split("|")
        base, _, pocket = release.partition("-")
        if base not in _SUITES or not address.startswith(("http://", "https://")):
            continue
        if pocket == "security":
            security_uri = security_uri or address.rstrip("/")
        elif pocket in ("", "updates"):
            uri = uri or address.rstrip("/")
            components += [component] if component not in components else []
    if uri is None:
        raise _unknown()
    # What Debian's installer writes since 12; the roles take firmware from there.
    components += [] if "non-free-firmware" in components else ["non-free-firmware"]
    wanted = list(_SETTING.findall(settings))
    for scheme in ("http", "https"):
        proxy = environment.get(f"{scheme}_proxy") or environment.get(f"{scheme.upper()}_PROXY")
        if proxy and not any(f"{scheme}::Proxy" in setting for setting in wanted):
            wanted.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    private = uri.startswith("https://") or bool(security_uri and security_uri.startswith("https"))
    return Archive(
        uri=uri,
        security_uri=security_uri,
        components=tuple(components),
        settings=tuple(_portable(setting) for setting in wanted),
        certificates=_certificates() if private else (),
    )


def _unknown() -> StrokeError:
    return StrokeError(
        "apt on this machine names no Debian archive to build the sandbox from",
        code="STK-701",
        hint="set STROKE_DEBIAN_ARCHIVE to the address of one: https://www.debian.org/mirror/list",
    )


def _portable(setting: str) -> str:
    # The guest builds its own bundle from the copied certificates.
    if "CaInfo" in setting:
        return 'Acquire::https::CaInfo "/etc/ssl/certs/ca-certificates.crt";'
    # A proxy on this machine's loopback is at the gateway's address for the guest.
    return re.sub(r"//(127\.0\.0\.1|localhost)(?=[:/\"])", "//10.0.2.2", setting)


def _certificates() -> tuple[Path, ...]:
    local = Path("/usr/local/share/ca-certificates")
    return tuple(sorted(local.rglob("*.crt"))) if local.is_dir() else ()
