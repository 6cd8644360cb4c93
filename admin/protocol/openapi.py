"""/openapi.json, made from the operations that are served and the structs that they answer with."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from inspect import cleandoc
from typing import Any

import msgspec

from admin.input.form_schema import of_form
from admin.protocol import responses
from admin.protocol.operation import FORM, Operation, Parameter
from admin.protocol.problems import Report

REF = "#/components/schemas/{name}"
PROBLEM = "application/problem+json"
MERGE_PATCH = "application/merge-patch+json"
EVENTS = "text/event-stream"
PLACE = re.compile(r"\{(\w+)\}")

Json = dict[str, Any]


def document(operations: Sequence[Operation], version: str) -> Json:
    """OpenAPI 3.1 for these operations."""
    types = {
        kind
        for each in operations
        for kind in (*each.answers.values(), *each.streams, each.fields)
        if _is_type(kind)
    }
    _, components = msgspec.json.schema_components(sorted({*types, Report}, key=repr), ref_template=REF)
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    paths: dict[str, Json] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "trio-lb", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation, components: Json) -> Json:
    described: Json = {
        "summary": operation.says,
        "operationId": f"{operation.method.lower()}{re.sub('[^a-z]+', '_', operation.path).rstrip('_')}",
        "parameters": [
            *_path_parameters(operation.path),
            *map(_parameter, operation.parameters),
            *_conditions(operation),
        ],
        "responses": {
            str(status): _answer(status, kind, operation.texts) for status, kind in operation.answers.items()
        },
        "security": [{}] if operation.is_open else [{"token": [operation.scope]}, {}],
    }
    if operation.streams:
        described["responses"]["200"]["content"] = _stream(operation.streams)
    described["responses"] |= {str(status): _problem(status) for status in _problems(operation)}
    if body := _body(operation, components):
        described["requestBody"] = {"content": body}
    return described


def _problems(operation: Operation) -> list[int]:
    """Its own, and those that everything may answer; what is open needs no token."""
    common = {421, 422, 500} if operation.is_open else {401, 403, 421, 422, 500}
    writing = {403, 413} if operation.writes else set()
    has_body = operation.fields or operation.posted_parameters or operation.media
    reading = {400, 408, 415} if has_body else set()
    return sorted(common | writing | reading | set(operation.problems))


def _path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PLACE.findall(path)
    ]


def _conditions(operation: Operation) -> list[Json]:
    """The fields of conditional requests, where they have a say."""
    names = ["If-Match", "If-None-Match"] if HTTPStatus.PRECONDITION_FAILED in operation.problems else []
    if HTTPStatus.NOT_MODIFIED in operation.answers:
        names = ["If-None-Match"]
    return [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]


def _parameter(parameter: Parameter[Any]) -> Json:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.says,
        "schema": dict(parameter.schema),
    }


def _body(operation: Operation, components: Json) -> Json:
    if operation.media:
        return {media_type: {"schema": dict(schema)} for media_type, schema in operation.media.items()}
    if operation.fields is not None:
        name = operation.fields.__name__
        schema, form = {"$ref": REF.format(name=name)}, of_form(name, components)
    elif operation.posted_parameters:
        properties = {each.name: dict(each.schema) for each in operation.parameters}
        schema = form = {"type": "object", "properties": properties, "additionalProperties": False}
    else:
        return {}
    types = [responses.JSON, MERGE_PATCH] if operation.method == "PATCH" else [responses.JSON]
    return {**{media_type: {"schema": schema} for media_type in types}, FORM: {"schema": form}}


def _answer(status: int, kind: Any, texts: Sequence[str]) -> Json:  # noqa: ANN401 - a type, or a sentence
    others: Json = {text.partition(";")[0]: {} for text in texts} if status == HTTPStatus.OK else {}
    if not _is_type(kind):
        return {"description": kind} | ({"content": others} if others else {})
    schema = {"$ref": REF.format(name=kind.__name__)}
    content = {responses.JSON: {"schema": schema}, **others}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _stream(kinds: Sequence[type]) -> Json:
    """OpenAPI 3.1 has no word for one event of a stream, so the schema of the whole is that of each."""
    data = {"oneOf": [{"$ref": REF.format(name=kind.__name__)} for kind in kinds]}
    text = {"type": "string", "contentMediaType": responses.JSON, "contentSchema": data}
    event = {"type": "object", "properties": {"data": text}, "required": ["data"]}
    return {EVENTS: {"schema": event}}


def _problem(status: int) -> Json:
    schema = {"$ref": REF.format(name=Report.__name__)}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schema}}}


def _is_type(kind: object) -> bool:
    return isinstance(kind, type)
