"""The schema of a form, made from the schema of the same body in JSON.

A form is flat, and its values are text: a nested field has a name with dots, an empty value stands for null,
and the items of a list are separated by commas.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

SCALARS = frozenset({"string", "integer", "number", "boolean"})


def of_form(name: str, components: Mapping[str, Json]) -> Json:
    """The schema of the form for this component."""
    properties: Json = {}
    patterns: Json = {}
    for key, schema in _flat(components[name], components, ""):
        (patterns if key.startswith("^") else properties)[key] = schema
    required = [key for key in components[name].get("required", []) if key in properties]
    form = {"type": "object", "properties": properties, "additionalProperties": False}
    return form | {"required": required} | ({"patternProperties": patterns} if patterns else {})


def _flat(schema: Json, components: Mapping[str, Json], prefix: str) -> Iterator[tuple[str, Json]]:
    for name, wanted in schema["properties"].items():
        place = f"{prefix}{name}"
        kinds = [_resolved(each, components) for each in wanted.get("anyOf", [wanted])]
        if texts := [*map(_as_text, filter(_is_text, kinds))]:
            yield place, {"anyOf": texts} if len(texts) > 1 else texts[0]
        for kind in kinds:
            if "properties" in kind:
                yield from _flat(kind, components, f"{place}.")
            elif kind.get("type") == "object":
                yield f"^{re.escape(place)}\\.", {"type": "string"}


def _resolved(schema: Json, components: Mapping[str, Json]) -> Json:
    if "$ref" not in schema:
        return schema
    return components[schema["$ref"].rpartition("/")[2]]


def _is_text(kind: Json) -> bool:
    is_list = kind.get("type") == "array" and kind.get("items", {}).get("type") in SCALARS
    return is_list or "enum" in kind or kind.get("type") in {*SCALARS, "null"}


def _as_text(kind: Json) -> Json:
    match kind.get("type"):
        case "null":
            return {"enum": [""]}
        case "array":
            return {"type": "string"}
        case "boolean":
            return {"enum": ["true", "false"]}
    return {key: value for key, value in kind.items() if key not in ("title", "description")}
