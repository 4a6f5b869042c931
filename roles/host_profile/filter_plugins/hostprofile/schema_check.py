"""Checks data against the part of JSON Schema that the catalogue's schema uses.

Hosts of Ansible often have no jsonschema, and a site's own catalogue has to be checked there, too.
An unknown keyword in a schema is an error, so that nothing is silently left unchecked; a test
compares the answers with those of jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_IGNORED = {"$schema", "$defs", "title", "description"}
_KNOWN = _IGNORED | {
    "$ref", "type", "enum", "properties", "required", "additionalProperties", "minProperties",
    "items", "minItems", "pattern", "minLength", "minimum", "exclusiveMinimum", "maximum",
}  # fmt: skip


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    return isinstance(value, _TYPES[kind])


def _same(one: Any, other: Any) -> bool:
    """JSON tells 1 from true; Python does not."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def problems(value: Any, schema: Json, root: Json | None = None, where: str = "") -> Iterator[str]:
    """A sentence for each place where the value is not what the schema says."""
    root = schema if root is None else root
    unknown = set(schema) - _KNOWN
    if unknown:
        raise ValueError(f"schema keywords that are not checked: {', '.join(sorted(unknown))}")
    here = where or "the catalogue"
    if "$ref" in schema:
        name = str(schema["$ref"]).removeprefix("#/$defs/")
        yield from problems(value, root["$defs"][name], root, where)
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, kind) for kind in kinds):
            yield f"{here}: {value!r:.60} is not of type {' or '.join(kinds)}"
            return
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield f"{here}: {value!r:.60} is none of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            yield f"{here}: is empty"
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{here}: {value!r:.60} does not look like {schema['pattern']}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if "minimum" in schema and not value >= schema["minimum"]:
            yield f"{here}: {value} is less than {schema['minimum']}"
        if "exclusiveMinimum" in schema and not value > schema["exclusiveMinimum"]:
            yield f"{here}: {value} is not greater than {schema['exclusiveMinimum']}"
        if "maximum" in schema and not value <= schema["maximum"]:
            yield f"{here}: {value} is greater than {schema['maximum']}"
    if isinstance(value, dict):
        yield from _object(value, schema, root, where)
    if isinstance(value, list):
        if len(value) < schema.get("minItems", 0):
            yield f"{here}: has {len(value)} entries, at least {schema['minItems']} are needed"
        for number, item in enumerate(value):
            name = f"{where}[{_name(item, number)}]"
            yield from problems(item, schema.get("items", {}), root, name)


def _name(item: Any, number: int) -> str:
    """Entries are named as people know them: by id, name or key."""
    if isinstance(item, dict):
        for key in ("id", "name", "key", "reference"):
            if isinstance(item.get(key), str):
                return str(item[key])
    return str(number)


def _object(value: Json, schema: Json, root: Json, where: str) -> Iterator[str]:
    here = where or "the catalogue"
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            yield f"{here}: {name} is missing"
    if len(value) < schema.get("minProperties", 0):
        yield f"{here}: is empty"
    for name, item in value.items():
        place = f"{where}.{name}" if where else str(name)
        if name in properties:
            yield from problems(item, properties[name], root, place)
            continue
        more = schema.get("additionalProperties", True)
        if more is False:
            yield f"{here}: {name} is not known"
        elif isinstance(more, dict):
            yield from problems(item, more, root, place)
