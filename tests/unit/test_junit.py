"""The checks of verify as JUnit XML: what the usual schema asks for, and what a reader sees."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from stroke import junit
from stroke.errors import StrokeError

from tests.unit.playing import backend, event, folded, home, only, published, stroke

__all__ = ["home"]

# Attributes and children that junit-10.xsd of Jenkins' xUnit plugin allows.
ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "classname", "time", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "skipped": ({"type", "message"}, set()),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}


def valid(element: ET.Element) -> None:
    """Fail where the document has something that the schema does not know."""
    attributes, children = ALLOWED[element.tag]
    assert set(element.attrib) <= attributes, element.tag
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        valid(child)
    if element.tag == "testsuite":
        cases = element.findall("testcase")
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(name) == str(sum(case.find(tag) is not None for case in cases))
        assert element.get("tests") == str(len(cases)) and cases
    if element.tag == "testcase":
        assert element.get("name") and element.get("classname")


def made(*checks: dict[str, Any]) -> ET.Element:
    facts = {"distribution": "Debian", "kernel": "7.2", "gpu": "gfx1151"}
    run = folded(published("box1", {"verify": list(checks), "facts": facts}))
    found = ET.fromstring(ET.tostring(junit.document(run)))  # noqa: S314
    valid(found)
    return found


def test_each_check_is_a_case_of_its_layer() -> None:
    top = made(
        {"id": "V101", "layer": "kernel", "what": "kernel", "status": "passed", "detail": "7.2"},
        {"id": "V201", "layer": "memory", "what": "arguments", "status": "failed",
         "detail": "none", "hint": "stroke provision"},
        {"id": "V301", "layer": "devices", "what": "node", "status": "skipped (simulated)"},
        {"id": "V403", "layer": "service", "what": "restarts", "status": "warning",
         "detail": "2 times", "hint": "journalctl"},
    )  # fmt: skip
    (suite,) = top
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    cases = {str(case.get("name")): case for case in suite.iter("testcase")}
    failure = cases["V201 arguments"].find("failure")
    assert failure is not None and failure.get("type") == "V201"
    assert (failure.text or "").endswith("Hint: stroke provision")
    assert cases["V201 arguments"].get("classname") == "stroke.memory"
    assert cases["V301 node"].find("skipped") is not None
    said = cases["V403 restarts"].findtext("system-out") or ""
    assert said == "warning: 2 times\nHint: journalctl"


def test_what_xml_cannot_hold_is_replaced_and_tokens_are_not_told() -> None:
    token = "hf_" + "a" * 20
    top = made({"id": "V1", "what": "<a> & \x1b[1m\x00", "status": "failed", "detail": token})
    (case,) = top.iter("testcase")
    assert case.get("name") == "V1 <a> & ?[1m?"
    assert token not in ET.tostring(top, encoding="unicode")


def test_a_host_without_checks_is_an_error_not_a_success() -> None:
    run = folded(event("runner_on_unreachable", result={"msg": "Connection refused"}))
    top = junit.document(run)
    valid(top)
    (error,) = top.iter("error")
    assert error.get("type") == "STK-201" and top.get("errors") == "1"


def test_the_command_writes_it_beside_its_other_output(home: Path) -> None:
    found = backend(verify=only("site", "unproven"))
    result = stroke(found, "verify", "hosts.ini", "--junit", "out.xml", "--json")
    assert result.exit_code == 6 and '"schema": "stroke/report/1"' in result.stdout
    top = ET.parse(home / "out.xml").getroot()  # noqa: S314
    valid(top)
    assert top.get("failures") == "1"
    assert sorted(path.name for path in home.glob("*out.xml*")) == ["out.xml"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(home: Path) -> None:
    found = backend()
    result = stroke(found, "verify", "hosts.ini", "--junit", "no/where.xml")
    assert result.exit_code == 2 and "STK-630" in result.stderr and not found.jobs
    with pytest.raises(StrokeError):
        junit.check(home)
