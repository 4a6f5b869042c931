"""The checks of verify as JUnit XML, the form in which CI systems take results.

One test suite per host, one test case per check: the layer is its class, id and title its name.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from .errors import StrokeError
from .events import redact
from .report import HostRun, Run

# XML 1.0 has no way to write these, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(value: object) -> str:
    return _ILLEGAL.sub("?", str(value or ""))


def document(run: Run) -> ET.Element:
    """The element `testsuites` of a run; a host that gave no checks is one case with an error."""
    top = ET.Element("testsuites", name="stroke verify")
    for host in run.hosts.values():
        top.append(_suite(host, run.started))
    _count(top, top.iter("testcase"))
    del top.attrib["skipped"]  # the schema has it for a suite only
    top.set("time", f"{sum(host.seconds for host in run.hosts.values()):.1f}")
    return top


def _suite(host: HostRun, started: str) -> ET.Element:
    suite = ET.Element("testsuite", name=_clean(host.name), hostname=_clean(host.name))
    if started:
        # The schema knows neither fractions of a second nor a zone.
        suite.set("timestamp", started[:19])
    properties = ET.SubElement(suite, "properties")
    for name in ("distribution", "kernel", "gpu"):
        if host.facts.get(name):
            ET.SubElement(properties, "property", name=name, value=_clean(host.facts[name]))
    for check in redact([dict(check) for check in host.verify]):
        name = f"{check.get('id', '')} {check.get('what', '')}".strip()
        case = _case(suite, str(check.get("layer") or "verify"), name)
        status = str(check.get("status", ""))
        if status == "failed":
            _problem(case, "failure", str(check.get("id")), check.get("detail"), check.get("hint"))
        elif status.startswith("skipped"):
            ET.SubElement(case, "skipped", message=_clean(check.get("detail") or status))
        elif check.get("detail"):
            words = [f"{status}: {check['detail']}"]
            words += [f"Hint: {check['hint']}"] if check.get("hint") else []
            ET.SubElement(case, "system-out").text = _clean("\n".join(words))
    if not host.verify:
        case = _case(suite, "run", "checks")
        for found in host.all_problems[:1]:
            _problem(case, "error", found.code, found.what, found.hint)
        if not host.all_problems:
            _problem(case, "error", "none", "nothing was checked", "")
    _count(suite, suite.iter("testcase"))
    suite.set("time", f"{host.seconds:.1f}")
    return suite


def _case(suite: ET.Element, layer: str, name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", name=_clean(name), classname=_clean(f"stroke.{layer}"), time="0"
    )


def _problem(case: ET.Element, kind: str, code: str, what: object, hint: object) -> None:
    problem = ET.SubElement(case, kind, type=_clean(code), message=_clean(what))
    problem.text = f"{_clean(what)}\nHint: {_clean(hint)}" if hint else _clean(what)


def _count(element: ET.Element, cases: Iterable[ET.Element]) -> None:
    found = list(cases)
    element.set("tests", str(len(found)))
    for name, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(kind) is not None for case in found)))


def check(path: Path) -> None:
    """Refuse a place that cannot be written, before anything is asked of a host."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise _cannot(path, "not a file in a directory that exists")
    try:
        path.open("a", encoding="utf-8").close()
    except OSError as error:
        raise _cannot(path, error.strerror or str(error)) from None


def write(run: Run, path: Path) -> None:
    """Write the document to a file, whole or not at all."""
    tree = ET.ElementTree(document(run))
    ET.indent(tree)
    whole = path.with_name(f".{path.name}.new")
    try:
        tree.write(whole, encoding="utf-8", xml_declaration=True)
        whole.replace(path)
    except OSError as error:
        raise _cannot(path, error.strerror or str(error)) from None


def _cannot(path: Path, why: str) -> StrokeError:
    return StrokeError(
        f"--junit {path}: {why}", code="STK-630", hint="name a file in a directory that exists"
    )
