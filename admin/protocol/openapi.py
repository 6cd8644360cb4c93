"""/openapi.json, made from the operations that are served and the structs that they answer with."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from inspect import cleandoc
from types import UnionType
from typing import Any, get_args

import msgspec
from msgspec.inspect import DictType, ListType, StructType, Type, VarTupleType
from msgspec.inspect import UnionType as OneOf

from admin.protocol import responses
from admin.protocol.attribute_docs import attribute_docs
from admin.protocol.form_schema import of_form
from admin.protocol.operation import Operation, Parameter
from admin.protocol.problems import Report
from admin.protocol.request_body import FORM

REF = "#/components/schemas/{name}"
PROBLEM = "application/problem+json"
MERGE_PATCH = "application/merge-patch+json"
EVENTS = "text/event-stream"

Json = dict[str, Any]


def document(operations: Sequence[Operation], version: str) -> Json:
    """OpenAPI 3.1 for these operations."""
    components = _components(operations)
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


def _components(operations: Iterable[Operation]) -> dict[str, Json]:
    """The schema of each struct that an operation takes or answers with, described by its docstring."""
    structs: set[type] = {Report}
    for each in operations:
        answers = (struct for answer in each.answers.values() for struct in _structs(answer))
        structs |= {*answers, *each.event_types, *_structs(each.body_type)}
    _, components = msgspec.json.schema_components(sorted(structs, key=repr), ref_template=REF)
    for component in components.values():
        component["description"] = cleandoc(component.get("description", ""))
    for struct in {*_within(*msgspec.inspect.multi_type_info(structs))}:
        _describe(components[struct.__name__], struct)
    return components


def _describe(component: Json, struct: type) -> None:
    """Say of each property what stands below the attribute of the struct."""
    docs = attribute_docs(struct)
    for name, schema in component["properties"].items():
        if name in docs:
            schema["description"] = docs[name]


def _within(*types: Type) -> Iterator[type]:
    """The structs among these types, and those in their fields."""
    for each in types:
        if isinstance(each, StructType):
            yield each.cls
            yield from _within(*(field.type for field in each.fields))
        elif isinstance(each, OneOf):
            yield from _within(*each.types)
        elif isinstance(each, ListType | VarTupleType):
            yield from _within(each.item_type)
        elif isinstance(each, DictType):
            yield from _within(each.value_type)


def _operation(operation: Operation, components: Json) -> Json:
    answers = operation.answers.items()
    described: Json = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub('[^a-z]+', '_', operation.path).rstrip('_')}",
        "parameters": [
            *map(_path_parameter, operation.path_parameters),
            *map(_parameter, operation.parameters),
            *_conditions(operation),
        ],
        "responses": {str(status): _answer(status, of, operation.media_types) for status, of in answers},
        "security": [{}] if operation.is_open else [{"token": [operation.scope]}, {}],
    }
    if operation.event_types:
        described["responses"]["200"]["content"] = _stream(operation.event_types)
    described["responses"] |= {str(status): _problem(status) for status in _problems(operation)}
    if body := _body(operation, components):
        described["requestBody"] = {"content": body}
    return described


def _problems(operation: Operation) -> list[int]:
    """The statuses of its own errors, and of those that every operation like it may answer."""
    common = {403, 421, 422, 500} if operation.is_open else {401, 403, 421, 422, 500}
    writing = {413} if operation.writes else set()
    has_body = operation.body_type or operation.posted_parameters or operation.body_schemas
    reading = {400, 408, 415} if has_body else set()
    return sorted(common | writing | reading | set(operation.problems))


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _conditions(operation: Operation) -> list[Json]:
    """The fields of conditional requests, where the operation looks at them."""
    names = ["If-Match", "If-None-Match"] if HTTPStatus.PRECONDITION_FAILED in operation.problems else []
    if HTTPStatus.NOT_MODIFIED in operation.answers:
        names = ["If-None-Match"]
    return [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]


def _parameter(parameter: Parameter[Any]) -> Json:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": dict(parameter.schema),
    }


def _body(operation: Operation, components: Mapping[str, Json]) -> Json:
    if operation.body_schemas:
        return {media_type: {"schema": dict(schema)} for media_type, schema in operation.body_schemas.items()}
    if operation.body_type is not None:
        name = operation.body_type.__name__
        schema, form = {"$ref": REF.format(name=name)}, of_form(name, components)
    elif operation.posted_parameters:
        properties = {each.name: dict(each.schema) for each in operation.parameters}
        schema = form = {"type": "object", "properties": properties, "additionalProperties": False}
    else:
        return {}
    types = [responses.JSON, MERGE_PATCH] if operation.method == "PATCH" else [responses.JSON]
    return {**{media_type: {"schema": schema} for media_type in types}, FORM: {"schema": form}}


def _answer(status: int, answer: object, media_types: Sequence[str]) -> Json:
    """One response: `answer` is a struct, a union of structs, or a sentence."""
    others: Json = {each.partition(";")[0]: {} for each in media_types} if status == HTTPStatus.OK else {}
    structs = _structs(answer)
    if not structs:
        return {"description": answer} | ({"content": others} if others else {})
    refs: list[Json] = [{"$ref": REF.format(name=struct.__name__)} for struct in structs]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    content = {responses.JSON: {"schema": schema}, **others}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _stream(event_types: Sequence[type]) -> Json:
    """OpenAPI 3.1 cannot describe one event of a stream, so the schema of the body is that of each event."""
    data = {"oneOf": [{"$ref": REF.format(name=each.__name__)} for each in event_types]}
    text = {"type": "string", "contentMediaType": responses.JSON, "contentSchema": data}
    event = {"type": "object", "properties": {"data": text}, "required": ["data"]}
    return {EVENTS: {"schema": event}}


def _problem(status: int) -> Json:
    schema = {"$ref": REF.format(name=Report.__name__)}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schema}}}


def _structs(answer: object) -> tuple[type, ...]:
    """The structs in a type or a union of types; none in a sentence."""
    if isinstance(answer, UnionType):
        return get_args(answer)
    return (answer,) if isinstance(answer, type) else ()
