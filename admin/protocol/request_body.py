"""The body of a request, read as JSON or as a form."""

from urllib.parse import parse_qsl

import msgspec
from quart import Request

from admin.protocol.mistakes import Mistake, escaped
from admin.protocol.problems import Problem, invalid

FORM = "application/x-www-form-urlencoded"
JSON_TYPES = frozenset({"application/json", "application/merge-patch+json"})
FORM_FIELDS = 200


class Body(msgspec.Struct, frozen=True):
    """What a body held. In a form every value is text, so numbers may be written as text there."""

    value: object
    is_form: bool = False

    def fields(self) -> dict[str, object]:
        """The members of the object in the body; 422 where it is no object."""
        if not isinstance(self.value, dict):
            raise invalid(Mistake(pointer="#", detail="expected an object"))
        return self.value


async def read_body(request: Request) -> Body:
    """The body as its Content-Type says; an empty one is an empty form, whatever its type.

    400 for a body that cannot be decoded, 415 for any other type.
    """
    data: bytes = await request.get_data(cache=True, as_text=False, parse_form_data=False)
    if not data.strip():
        return Body({}, is_form=True)
    media_type = request.mimetype
    # `curl -d '{...}'` without a header sends JSON under the type of a form
    if media_type in JSON_TYPES or (media_type == FORM and data.lstrip()[:1] in b"{["):
        return Body(_json(data))
    if media_type == FORM:
        return Body(_form(data), is_form=True)
    raise Problem("unsupported-media-type", f"{media_type or 'no Content-Type'} is not one of ours")


def _json(data: bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Problem("malformed", str(exc)) from exc
    except RecursionError as exc:
        raise Problem("malformed", "JSON is nested too deeply") from exc


def _form(data: bytes) -> dict[str, object]:
    try:
        pairs = parse_qsl(data.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS, errors="strict")
    except ValueError as exc:
        raise Problem("malformed", f"not a form: {exc}") from exc
    fields: dict[str, object] = dict(pairs)
    if len(fields) < len(pairs):
        twice = next(name for name, _ in pairs if [name for name, _ in pairs].count(name) > 1)
        raise invalid(Mistake(pointer=f"#/{escaped(twice)}", detail="given more than once"))
    return fields
