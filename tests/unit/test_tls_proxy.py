"""The TLS front: what is refused, what the Caddyfile says, and what the manifest wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests.unit.plugins import ROLES, plugin

front = plugin("tls_proxy", "tls_proxy")
TEMPLATE = ROLES / "tls_proxy/templates/etc/stroke/tls_proxy/Caddyfile.j2"
KEY = "-----BEGIN PRIVATE KEY-----\nQ0FOQVJZ\n-----END PRIVATE KEY-----\n"
CERTIFICATE = KEY.replace("PRIVATE KEY", "CERTIFICATE")
Json = dict[str, Any]


def settings(**changes: Any) -> Json:
    sites = [{"port": 8443, "upstream": "127.0.0.1:8000"}]
    return {"sites": sites, "names": ["box", "10.0.0.1", "fe80::1"], "bind": [], "given": False,
            "paths": ["/v1/models"]} | changes  # fmt: skip


def test_good_settings_are_not_refused() -> None:
    assert front.tls_problems(settings(bind=["0.0.0.0", "::"])) == []  # noqa: S104


@pytest.mark.parametrize(
    "changes",
    [
        {"names": ["a b"]},
        {"names": ["a {\n"]},
        {"bind": ["eth0"]},
        {"paths": ["/v1 {"]},
        {"paths": ["v1"]},
        {"sites": [{"port": 0, "upstream": "127.0.0.1:1"}]},
        {"sites": [{"port": 1, "upstream": "127.0.0.1"}]},
        {"sites": [{"port": 1, "upstream": "a:1"}, {"port": 1, "upstream": "b:1"}]},
    ],
)
def test_what_would_be_other_lines_for_caddy_is_refused(changes: Json) -> None:
    (problem,) = front.tls_problems(settings(**changes))
    assert problem["code"] == "STK-448" and problem["hint"]


def test_a_given_pair_is_read_and_its_faults_show_nothing_of_it(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    certificate.write_text(CERTIFICATE, encoding="ascii")
    key.write_text(KEY, encoding="ascii")
    pair = front.certificate_pair(str(certificate), str(key))
    assert [file["content"] for file in front.secret_pair(pair)] == [CERTIFICATE, KEY]
    for bad in ((str(certificate), None), (str(certificate), str(tmp_path / "none")),
                (str(key), str(certificate)), (str(certificate), str(certificate))):  # fmt: skip
        found = front.certificate_pair(*bad)
        assert found["problems"] and found["key"] is None
        assert "Q0FOQVJZ" not in json.dumps(found["problems"])


def test_the_caddyfile_has_every_name_and_passes_tokens_on() -> None:
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # noqa: S701  a configuration file is no web page
    )
    environment.filters["site_addresses"] = front.site_addresses
    given = settings()
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        __tls_proxy_settings=given, tls_proxy_sites=given["sites"], tls_proxy_bind=[],
        tls_proxy_paths=given["paths"], tls_proxy_body_megabytes=20, __tls_proxy_given=False,
    )  # fmt: skip
    assert "https://box:8443, https://10.0.0.1:8443, https://[fe80::1]:8443 {" in text
    assert "flush_interval -1" in text and "tls internal" in text and "max_size 20MB" in text
    assert text.count("{") == text.count("}")


def test_no_front_wanted_means_that_none_is_there() -> None:
    items = front.front_items(False, False, [], [{"path": "/f", "content": ""}], "u.service")
    assert [item["state"] for item in items] == ["absent", "absent"]


def test_a_given_key_is_an_item_without_its_content_and_restarts_the_front() -> None:
    items = front.front_items(True, True, [], [{"path": "/f", "content": ""}], "u.service")
    (key,) = [item for item in items if str(item.get("path")).endswith("key.pem")]
    assert key["opaque"] and key["mode"] == "0400" and "content" not in key
    assert key["path"] in items[-1]["needs"]
