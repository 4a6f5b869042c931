"""API keys and tokens: who needs one, what is refused, and that a host answers only yes or no."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_host import files
from gpu_host import secrets as observer
from stroke.errors import StrokeError
from stroke.handover import handover, keys, refuse_on_command_line

from tests.unit.plugins import ROLES, plugin

secrets = plugin("inference_server", "secrets")
values = plugin("gpu_facts", "secret_values")
settings = plugin("host_profile", "settings")
manifest = plugin("host_profile", "manifest")
choice = plugin("host_profile", "choice")
ENGINES = yaml.safe_load((ROLES / "host_profile/files/catalog/engines.yml").read_text())["engines"]
KEY = "canary-0123456789abcdef"
Json = dict[str, Any]


def service(engine: str = "vllm", **more: Any) -> Json:
    return {"name": "svc", "definition": ENGINES[engine], "api_key": True} | more


@pytest.mark.parametrize(
    ("value", "bind", "exposed", "wanted"),
    [
        (None, "127.0.0.1", False, False),
        (None, "::1", False, False),
        (KEY, "127.0.0.1", False, True),
        (None, "0.0.0.0", False, True),  # noqa: S104  nothing is bound
        (None, "192.168.1.5", False, True),
        (None, "::", False, True),
        (None, "127.0.0.1", True, True),
    ],
)
def test_who_others_can_reach_has_a_key(
    value: str | None, bind: str, exposed: bool, wanted: bool
) -> None:
    found = secrets.api_key(value, None, bind, exposed)
    assert (found["wanted"], found["value"], found["problems"]) == (wanted, value, [])


@pytest.mark.parametrize(
    "value", ["short", "with blank in the middle", "a" * 513, "0123456789abcde\n"]
)
def test_an_unusable_key_is_refused_and_not_shown(value: str) -> None:
    found = secrets.api_key(value, None, "127.0.0.1", False)
    (problem,) = found["problems"]
    assert problem["code"] == "STK-445" and found["value"] is None
    assert value not in json.dumps(found)


def test_a_key_comes_from_a_file_of_the_controller(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    assert secrets.api_key(None, str(file), "127.0.0.1", False)["value"] == KEY
    for bad in (tmp_path / "missing", tmp_path):
        (problem,) = secrets.api_key(None, str(bad), "127.0.0.1", False)["problems"]
        assert str(bad) in problem["what"] and problem["hint"]
    file.write_text("\n", encoding="utf-8")
    assert secrets.api_key(None, str(file), "127.0.0.1", False)["problems"]
    assert secrets.api_key(KEY, str(file), "127.0.0.1", False)["problems"]


def test_a_service_of_a_list_has_the_key_of_its_own_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("own-0123456789abcdef\n", encoding="utf-8")
    own = secrets.service_key(listed(api_key_file=str(file), own_key=True), KEY)
    assert (own["value"], own["problems"]) == ("own-0123456789abcdef", [])
    assert secrets.service_key(listed(), KEY)["value"] == KEY
    # The variable and its own file are one too many.
    assert secrets.service_key(listed(api_key_file=str(file)), KEY)["problems"]
    looks = secrets.secret_looks([listed(), listed(name="two")], KEY, {"x": "{key}"})
    assert [look["path"] for look in looks] == [
        "/etc/stroke/secrets/svc/api_key", "/etc/stroke/secrets/two/api_key"]  # fmt: skip


def test_a_host_keeps_the_key_that_was_made_for_it() -> None:
    kept = {"content": base64.b64encode(f"{KEY}\n".encode()).decode()}
    assert secrets.usable_key(None, kept) == KEY and not secrets.is_new_key(KEY, kept)
    assert secrets.usable_key("given-0123456789abcdef", kept) == "given-0123456789abcdef"
    for broken in ({}, {"content": ""}, {"content": base64.b64encode(b"x y").decode()}):
        made = secrets.usable_key(None, broken)
        assert secrets.KEY.fullmatch(made) and made != secrets.usable_key(None, broken)
        assert secrets.is_new_key(made, broken)


def test_vllm_reads_a_mounted_configuration_and_llama_server_a_file() -> None:
    unit = secrets.inference_secrets(service())
    assert unit["arguments"] == ["--config", "/run/stroke/vllm.yaml"]
    folder = "/etc/stroke/secrets/svc"
    assert [f"{folder}/vllm.yaml", "/run/stroke/vllm.yaml"] in unit["mounts"]
    assert secrets.inference_secrets(service("llamacpp")) == {
        "arguments": ["--api-key-file", "/run/stroke/api_key"],
        "environment": {},
        "mounts": [[f"{folder}/api_key", "/run/stroke/api_key"]],
    }
    assert secrets.inference_secrets(service(api_key=False)) == (
        {"arguments": [], "environment": {}, "mounts": []}
    )


def test_an_older_vllm_says_nothing_of_its_arguments(tmp_path: Path) -> None:
    """vLLM itself would print them: its loggers are below `vllm.entrypoints`, by module."""
    script = tmp_path / "say.py"
    older = ENGINES["vllm"]["secrets"]["api_key"]["older"]
    (tmp_path / "logging.json").write_text(older["files"]["logging.json"], encoding="utf-8")
    script.write_text(
        "import json, logging, logging.config, sys\n"
        "logging.config.dictConfig(json.load(open(sys.argv[1])))\n"
        "for name in ('vllm.entrypoints.utils', 'vllm.entrypoints.serve.utils.api_utils'):\n"
        "    logging.getLogger(name).info('non-default args: %s', 'the key')\n"
        "logging.getLogger('vllm.entrypoints.launcher').warning('a warning')\n"
        "logging.getLogger('vllm.v1.engine.core').info('an engine')\n",
        encoding="utf-8",
    )
    said = subprocess.run([sys.executable, script, tmp_path / "logging.json"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "the key" not in said.stdout + said.stderr
    assert "WARNING" in said.stdout and "an engine" in said.stdout
    unit = secrets.inference_secrets(
        service(definition={"secrets": {"api_key": ENGINES["vllm"]["secrets"]["api_key"] | {
            "environment": older["environment"], "files": older["files"]}}})
    )  # fmt: skip
    place = unit["environment"]["VLLM_LOGGING_CONFIG_PATH"]
    assert place in [inside for _, inside in unit["mounts"]]


def test_the_configuration_of_vllm_is_yaml_with_the_key() -> None:
    content = {
        f["path"].rpartition("/")[2]: f["content"] for f in secrets.secret_files(service(), KEY)
    }
    assert content["api_key"] == f"{KEY}\n"
    assert yaml.safe_load(content["vllm.yaml"]) == {"api-key": [KEY]}


def listed(**more: Any) -> Json:
    """A service as inference_server_services has it."""
    return {"name": "svc", "bind": "127.0.0.1", "api_key_file": None, "own_key": False,
            "exposed": False} | more  # fmt: skip


def look(root: Path, value: str | None) -> Json:
    """What a host whose root is here answers about a service of vllm."""
    formats = ENGINES["vllm"]["secrets"]["api_key"]["files"]
    questions = secrets.secret_looks([listed(bind="192.168.1.5")], value, formats)
    assert KEY not in json.dumps(questions)
    return observer.secrets(files.Host(root), questions)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "etc/stroke/secrets/svc"
    folder.mkdir(parents=True)
    for file in secrets.secret_files(service(), KEY):
        path = tmp_path / file["path"].lstrip("/")
        path.write_text(file["content"], encoding="utf-8")
        path.chmod(0o400)
    return tmp_path


def same(seen: Json) -> dict[str, bool | None]:
    return {
        path.rpartition("/")[2]: found["same"] for path, found in seen.items() if "same" in found
    }


@pytest.mark.parametrize("value", [KEY, None])
def test_the_host_says_yes_for_what_is_wanted(root: Path, value: str | None) -> None:
    assert same(look(root, value)) == {"api_key": True if value else None, "vllm.yaml": True}


@pytest.mark.parametrize(
    ("name", "content", "value", "wrong"),
    [
        ("api_key", "another-0123456789abcdef\n", KEY, {"api_key", "vllm.yaml"}),
        ("api_key", "another-0123456789abcdef\n", None, {"vllm.yaml"}),
        ("api_key", "", None, {"api_key", "vllm.yaml"}),
        ("vllm.yaml", "api-key: []\n", None, {"vllm.yaml"}),
    ],
)
def test_the_host_says_no_for_anything_else(
    root: Path, name: str, content: str, value: str | None, wrong: set[str]
) -> None:
    path = root / "etc/stroke/secrets/svc" / name
    path.chmod(0o600)
    path.write_text(content, encoding="utf-8")
    assert {name for name, found in same(look(root, value)).items() if found is False} == wrong


@pytest.mark.parametrize("value", [KEY, None])
def test_neither_the_key_nor_a_hash_of_it_leaves_the_host(root: Path, value: str | None) -> None:
    answer = json.dumps(look(root, value))
    for text in (KEY, f"{KEY}\n"):
        assert text not in answer
        for algorithm in ("sha256", "sha1", "md5"):
            assert hashlib.new(algorithm, text.encode()).hexdigest() not in answer


def test_a_wrong_mode_or_content_is_a_change_and_tells_nothing(root: Path) -> None:
    items = secrets.secret_items(service(), "root")
    facts = {"secrets": look(root, "given-0123456789abcdef"), "seen": {"paths": {}, "patterns": []}}
    (root / "etc/stroke/secrets/svc/vllm.yaml").chmod(0o644)
    facts["secrets"] |= look(root, "given-0123456789abcdef")
    changes = manifest.manifest_changes(items, choice.manifest_seen(items, facts))
    said = {change["what"].rpartition("/")[2]: change for change in changes}
    assert "another content" in said["api_key"]["before"]
    assert "mode 0644" in said["vllm.yaml"]["before"]
    assert KEY not in json.dumps(changes) and "sha256" not in json.dumps(changes)


def test_no_key_wanted_means_no_directory() -> None:
    (item,) = secrets.secret_items(service(api_key=False), "stroke")
    assert (item["path"], item["state"]) == ("/etc/stroke/secrets/svc", "absent")


def test_a_rootless_engine_gets_to_its_files_and_nobody_else_does() -> None:
    _, rootful, *_ = secrets.secret_items(service(), "stroke")
    _, rootless, *_ = secrets.secret_items(service(rootless=True), "stroke")
    assert (rootful["mode"], rootful["group"]) == ("0700", "root")
    assert (rootless["mode"], rootless["owner"], rootless["group"]) == ("0710", "root", "stroke")


def test_settings_that_tasks_may_print_have_no_secrets() -> None:
    variables = {
        "inference_server_api_key": KEY,
        "model_store_hf_token": KEY,
        "inference_server_port": 1,
    }
    checked = settings.check_settings(variables, str(ROLES), [])
    assert checked == {"settings": {"inference_server_port": 1}, "problems": []}


@pytest.mark.parametrize(
    "word",
    [f"inference_server_api_key={KEY}", f'{{"model_store_hf_token": "{KEY}"}}',
     f"a=1 inference_server_api_key = {KEY}"],
)  # fmt: skip
def test_a_secret_on_the_command_line_is_refused(word: str) -> None:
    with pytest.raises(StrokeError) as refused:
        refuse_on_command_line(("inference_server_port=1", word))
    assert refused.value.code == "STK-447" and KEY not in str(refused.value)


def test_a_file_with_a_secret_is_not_refused() -> None:
    refuse_on_command_line(("@secrets.yml", "inference_server_api_key_file=key.txt"))


def test_keys_are_handed_over_and_gone() -> None:
    with handover() as place:
        assert place.stat().st_mode & 0o077 == 0
        name = base64.urlsafe_b64encode(b"box 1 svc").decode()
        (place / name).write_text(f"{KEY}\n", encoding="utf-8")
        assert keys(place) == [("box 1", "svc", KEY)]
    assert not place.exists()
