"""`lb certificates` and `lb why --tls`: certificates, what is left of them, orders; refusals in words."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from lb.remote.api import Remote, path_of
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import columns, printable, printable_json, say
from lb.suggestions import plural

HEAD = ("NAME", "STAGE", "LEFT", "OF ITS LIFE", "NEXT RENEWAL", "KEY", "ISSUER", "ROUTES")
LAST = 10
"""Handshakes that are told in words; `--json` has a hundred."""
NO_TLS = "no listener of this balancer speaks TLS"


def list_certificates(remote: Remote, json: bool) -> int:
    """The certificates that are served, those that end first before the others."""
    answer = remote.call("GET", "/certificates")
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    found = answer.json
    if not found["listeners"]:
        raise Failed(NO_TLS, Code.NOT_THERE)
    if found["items"]:
        say("\n".join(columns([HEAD, *map(_row, found["items"])])))
    for line in _notes(found):
        say(printable(line))
    return Code.DONE


def _row(certificate: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        certificate["id"],
        certificate["stage"],
        f"{certificate['days_left']:.1f} days",
        f"{certificate['lifetime_left']:.0%}",
        _next_renewal(certificate["renewal"]),
        f"{certificate['key_type']} {certificate['key_bits']}",
        _issuer(certificate),
        certificate["routes_count"],
    )


def _next_renewal(order: Mapping[str, Any] | None) -> str:
    """When one that is ordered is ordered anew; those in files are renewed by others."""
    if order is None:
        return "by others"
    when = "now" if order["is_running"] else (order["next_attempt"] or "never")[: len("2026-12-01T10:00")]
    return when.replace("T", " ")


def _issuer(certificate: Mapping[str, Any]) -> str:
    """Of one that is ordered also where it was, if that is known."""
    order, issuer = certificate["renewal"], str(certificate["issuer"])
    if order is None or not order["directory"]:
        return issuer
    return f"{issuer}, by {urlsplit(order['directory']).hostname}"


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it should be, a line each."""
    for each in found["items"]:
        yield from (f"warning  {each['id']}: {warning}" for warning in each["warnings"])
    renewals = [each["renewal"] for each in found["items"] if each["renewal"]]
    for each in [*renewals, *found["ordered"]]:
        if each["error"]:
            yield f"warning  {each['name']}: {each['error']}; {_next_attempt(each)}"
    for each in found["ordered"]:
        if not each["error"]:
            yield f"ordered  {each['name']}: {_next_attempt(each)}"
    for mistake in (found["error"] or "").splitlines():
        yield f"error    {mistake.strip()}"
    for host in found["uncovered"]:
        yield f"warning  {host} has a route and no certificate"
    if (more := found["uncovered_count"] - len(found["uncovered"])) > 0:
        yield f"warning  {plural(more, 'more host')} with a route and no certificate"


def _next_attempt(order: Mapping[str, Any]) -> str:
    if order["is_running"]:
        return "it is being ordered now"
    return f"next attempt {order['next_attempt']}" if order["next_attempt"] else "no further attempt"


def renew(remote: Remote, name: str, json: bool) -> int:
    """Have a certificate ordered anew."""
    answer = remote.call("POST", path_of("/certificates", name, "renew"))
    if json:
        say(printable_json(answer.text))
    else:
        say(printable(f"{answer.json['name']}: {_next_attempt(answer.json)}"))
    return Code.DONE


def reload_certificates(remote: Remote, dry_run: bool, json: bool) -> int:
    """Have the files read again, or ask what that would change."""
    answer = remote.call("POST", "/certificates/reload", {"dry_run": "true" if dry_run else None})
    if json:
        say(printable_json(answer.text))
    else:
        say("\n".join(printable(line) for line in _changes(answer.json)))
    return Code.DONE


def _changes(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{'' if found['applied'] else 'not applied: '}{found['summary']}"
    for each in found["changes"]:
        before, after = (_ends(each[when]) for when in ("before", "after"))
        served = f", for {plural(each['routes_count'], 'route')}" if each["after"] else ""
        yield f"  {each['chain_file']}: {before} -> {after}{served}"
    yield from (f"warning  {warning}" for warning in found["warnings"])
    yield from (f"warning  {host} has a route and no certificate" for host in found["uncovered"])


def _ends(certificate: Mapping[str, Any] | None) -> str:
    return "nothing" if certificate is None else f"{certificate['days_left']:.1f} days left"


def why_tls(remote: Remote, json: bool) -> int:
    """The last handshakes that were refused, in words, and how many there were for each reason."""
    answer = remote.call("GET", "/handshakes", {"refused": "true", "limit": None if json else LAST})
    if json:
        say(printable_json(answer.text))
        return Code.DONE
    found = answer.json
    if not found["refused"]:
        raise Failed("no handshake was refused", Code.NOT_THERE)
    say("\n".join(map(printable, _refused(found))))
    return Code.DONE


def _refused(found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["items"]:
        yield f"{each['at']}  {each['reason']}  from {each['peer']} at {each['listener']}"
        yield f"  {each['sentence']} {each['help']}"
        if offered := _offered(each):
            yield f"  It asked for {each['server_name'] or 'no name'}, and offered {offered}."
        yield ""
    for count in found["refused"]:
        yield f"{count['count']:>7}  {count['reason']}  at {count['listener']}"
    yield f"{sum(each['count'] for each in found['done']):>7}  succeeded"


def _offered(refused: Mapping[str, Any]) -> str:
    kinds = (refused["versions"], refused["protocols"], refused["ciphers"][:3])
    return "; ".join(", ".join(kind) for kind in kinds if kind)
