"""`stroke image build`: three recipes as data, sound ones only, and who builds them."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from stroke import image_build, image_recipe, role_code
from stroke.errors import StrokeError

from tests.unit.playing import RecordedBackend, stroke

Json = dict[str, Any]
BUILDS: list[Json] = role_code.catalog()["image_builds"]
NOTHING = RecordedBackend({})
TARGETS = ("generic", "gfx1151", "gfx1201")
SOUND = image_recipe.recipe(BUILDS, "gfx1151").text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("wheels", [False, True])
def test_each_build_of_the_requirements_is_rendered_and_sound(target: str, wheels: bool) -> None:
    made = image_recipe.recipe(BUILDS, target, wheels=wheels)
    assert list(image_recipe.faults(made.text)) == []
    assert made.text.rstrip().endswith('ENTRYPOINT ["vllm", "serve"]')
    assert f"FROM {made.build['base']}\n" in made.text
    assert f'stroke.rocm="{made.build["rocm"]}"' in made.text
    for index in made.build["indexes"]:
        assert (index in made.text) is not wheels
    assert ("git clone" in made.text) is (made.build["kind"] == "source" and not wheels)
    assert ("--no-index" in made.text) is wheels


@pytest.mark.parametrize("target", ["gfx1151", "gfx1201"])
def test_the_target_is_told_and_never_looked_up(target: str) -> None:
    text = image_recipe.recipe(BUILDS, target).text
    assert f'PYTORCH_ROCM_ARCH="{target}"' in text
    assert f"torch[device-{target}]==" in text and "{gfx}" not in text
    assert "insecure" not in text and "HSA_OVERRIDE" not in text


def test_a_target_has_its_own_build_or_shares_one() -> None:
    assert image_recipe.choose(BUILDS, "gfx1151")["id"] == "vllm-gfx1151"
    assert image_recipe.choose(BUILDS, "gfx942")["id"] == "vllm-generic"
    shared = image_recipe.recipe(BUILDS, "gfx942")
    assert 'stroke.gfx="gfx942"' in shared.text and shared.tag.startswith("localhost/stroke/vllm:")
    with pytest.raises(StrokeError) as refused:
        image_recipe.choose(BUILDS, "gfx1103")
    assert refused.value.code == "STK-635" and "gfx1201" in str(refused.value.hint)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("FROM docker.io/library/ubuntu:24.04\n", "FROM docker.io/library/ubuntu:latest\n",
         "without a version"),
        ("FROM docker.io/library/ubuntu:24.04\n", "FROM docker.io/library/ubuntu\n",
         "without a version"),
        ("USER 10001:10001\n", "", "not root"),
        ("USER 10001:10001\n", "USER 0\n", "not root"),
        ("USER 10001:10001\n", "USER vllm\n", "not root"),
        ('"setuptools==80.9.0"', '"setuptools"', "setuptools without a version"),
        (" --branch=v0.23.0", "", "without a tag"),
        ("        && rm -rf /var/lib/apt/lists/*; \\\n", "        ; \\\n", "package lists"),
        ("WORKDIR /tmp\n", "ARG HF_TOKEN\n", "HF_TOKEN would stay"),
        ("WORKDIR /tmp\n", "ENV A=1 OPENAI_API_KEY=x\n", "OPENAI_API_KEY would stay"),
        ("WORKDIR /tmp\n", "# hf_abcdefghijklmnopqrst\n", "a token or a key"),
        ("WORKDIR /tmp\n", "ADD https://example.org/x.tar /\n", "not pinned"),
        ("RUN python3 -m venv", "RUN --security=insecure python3 -m venv", "privilege"),
    ],
)  # fmt: skip
def test_what_is_not_sound_is_named(old: str, new: str, said: str) -> None:
    assert old in SOUND
    (found,) = dict.fromkeys(image_recipe.faults(SOUND.replace(old, new)))
    assert said in found


def test_an_entry_of_a_site_that_is_not_sound_is_refused_before_anything_is_built() -> None:
    own = copy.deepcopy(BUILDS)
    own[0]["environment"] = {"HF_TOKEN": "x"}
    with pytest.raises(StrokeError) as refused:
        image_recipe.recipe(own, "generic")
    assert refused.value.code == "STK-636"


@pytest.mark.parametrize("word", ["a b", "--privileged", "x\nRUN id", "UPPER:1", ""])
def test_a_name_is_a_name_and_no_line_of_the_recipe(word: str) -> None:
    with pytest.raises(StrokeError) as refused:
        image_recipe.recipe(BUILDS, "generic", tag=word or " ")
    assert refused.value.code == "STK-636"


def test_a_base_is_pinned_by_digest_or_a_note_says_that_it_is_not() -> None:
    firm = "localhost/base@sha256:" + "0" * 64
    assert any("by its tag only" in w for w in image_recipe.recipe(BUILDS, "generic").warnings)
    made = image_recipe.recipe(BUILDS, "generic", base=firm)
    assert made.warnings == [] and f"FROM {firm}\n" in made.text


def test_the_first_builder_that_is_there_builds() -> None:
    there = {"buildah", "docker", "buildctl-daemonless.sh"}
    assert image_build.choose_builder("auto", lambda n: n if n in there else None) == "buildah"
    assert image_build.choose_builder("buildctl", lambda n: n if n in there else None)
    for wanted, none in (("auto", set[str]()), ("podman", there)):
        with pytest.raises(StrokeError) as refused:
            image_build.choose_builder(wanted, lambda n, none=none: n if n in none else None)  # type: ignore[misc]
        assert refused.value.code == "STK-637"


@pytest.mark.parametrize("builder", image_build.BUILDERS)
@pytest.mark.parametrize("offline", [False, True])
def test_no_builder_is_given_a_privilege(builder: str, offline: bool) -> None:
    made = image_recipe.recipe(BUILDS, "generic")
    words = image_build.command(builder, made, Path("/c"), Path("/a.tar"), offline=offline)
    said = " ".join(words)
    assert "privileged" not in said and "insecure" not in said and "seccomp" not in said
    assert made.tag in said and ("none" in said) is offline


def test_buildctl_needs_a_file() -> None:
    made = image_recipe.recipe(BUILDS, "generic")
    with pytest.raises(StrokeError):
        image_build.command("buildctl", made, Path("/c"), None, offline=False)


def test_what_leaked_into_a_finished_image_is_seen() -> None:
    fine = {"Config": {"User": "10001:10001", "Env": ["PATH=/bin", "HF_HOME=/x"]}}
    assert image_build.leaks(fine) == []
    bad = {"Config": {"User": "root", "Env": ["HF_TOKEN=x"]}}
    assert image_build.leaks(bad) == ["HF_TOKEN is in the image", "the image runs as root"]
    assert image_build.leaks({"Config": {}}) == ["the image runs as root"]


def test_render_only_prints_the_recipe_and_nothing_else() -> None:
    shown = stroke(NOTHING, "image", "build", "--gfx", "gfx1201", "--render-only")
    assert shown.exit_code == 0
    assert shown.stdout == image_recipe.recipe(BUILDS, "gfx1201").text
    told = json.loads(
        stroke(NOTHING, "image", "build", "--gfx", "gfx1201", "--render-only", "--json").stdout
    )
    assert told["schema"] == "stroke/image/1" and told["containerfile"] == shown.stdout
