"""What went wrong with an authority, as one sentence that says what to do about it.

Each error has a `fault`, which decides whether the next authority in line is tried (`lb.core.renewal.Fault`),
and may have the seconds for which the authority does not want to be asked again. What it says comes from a
foreign machine: it is cut, and freed of what a terminal would act on.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lb.core.renewal import Fault

URN = "urn:ietf:params:acme:error:"
LONGEST_DETAIL = 300
MOST_SUBPROBLEMS = 3
BAD_NONCE = "badNonce"
NO_ACCOUNT = "accountDoesNotExist"
ALREADY_REPLACED = "alreadyReplaced"
FULL_OF_ORDERS = "rateLimited"


class AcmeError(Exception):
    """Why there is no certificate now; the message is a sentence."""

    def __init__(self, message: str, fault: Fault, hold: float | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.hold = hold


class Unreachable(AcmeError):
    """The authority did not answer, or not in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault.AUTHORITY)


class Nonsense(AcmeError):
    """The authority's answer is not what RFC 8555 says that it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Fault.AUTHORITY)


class Refused(AcmeError):
    """The authority has answered with a problem document; `kind` is its type without the common part."""

    def __init__(self, message: str, fault: Fault, hold: float | None, kind: str) -> None:
        super().__init__(message, fault, hold)
        self.kind = kind


class Advice(NamedTuple):
    """What a type of problem (RFC 8555 section 6.7, RFC 9773 section 7.4) means to an operator."""

    text: str
    fault: Fault


ADVICE = {
    NO_ACCOUNT: Advice("the authority does not know our account any more", Fault.SETTINGS),
    ALREADY_REPLACED: Advice("the certificate of {name} has been replaced already", Fault.SETTINGS),
    "badCSR": Advice("the authority does not take our request for {name}", Fault.SETTINGS),
    BAD_NONCE: Advice("the authority took none of our nonces", Fault.AUTHORITY),
    "badPublicKey": Advice("the authority does not take keys on the curve P-256", Fault.SETTINGS),
    "badSignatureAlgorithm": Advice("the authority does not take signatures by ES256", Fault.SETTINGS),
    "caa": Advice(
        "the CAA records of {name} forbid this authority; allow it there, or take another tls.acme.directory",
        Fault.SETTINGS,
    ),
    "compound": Advice("several things were wrong", Fault.AUTHORITY),
    "connection": Advice(
        "the authority could not connect to {name}; its A and AAAA records must lead to this balancer, "
        "and {port} must be open",
        Fault.NAME,
    ),
    "dns": Advice("the authority found no address of {name}; give it an A or AAAA record", Fault.NAME),
    "externalAccountRequired": Advice(
        "the authority wants an account that you have with it; set tls.acme.eab to what it gave you",
        Fault.SETTINGS,
    ),
    "incorrectResponse": Advice(
        "something else answered for {name}; see that no record of it leads elsewhere (AAAA too), and that "
        "nothing before this balancer answers {port}",
        Fault.NAME,
    ),
    "invalidContact": Advice("the authority does not take the address in tls.acme.contact", Fault.SETTINGS),
    "orderNotReady": Advice("the authority had not finished its checks of {name}", Fault.AUTHORITY),
    FULL_OF_ORDERS: Advice(
        "the authority has had too many orders or failures; to try things out, "
        'tls.acme.directory = "staging" has wider limits',
        Fault.AUTHORITY,
    ),
    "rejectedIdentifier": Advice(
        "the authority gives no certificate for {name}; take it out of tls.acme.names", Fault.SETTINGS
    ),
    "serverInternal": Advice("the authority has trouble of its own", Fault.AUTHORITY),
    "tls": Advice(
        "the authority's TLS handshake with {name} failed; {port} must reach this balancer without another "
        "TLS before it",
        Fault.NAME,
    ),
    "unauthorized": Advice(
        "the authority did not find our proof at {name}; see that its records lead here (AAAA too), and what "
        "answers at {port}",
        Fault.NAME,
    ),
    "unsupportedContact": Advice(
        "the authority does not take the address in tls.acme.contact", Fault.SETTINGS
    ),
    "unsupportedIdentifier": Advice(
        "the authority gives no certificates for names like {name}", Fault.SETTINGS
    ),
    "userActionRequired": Advice(
        "the authority wants you to do something first, such as to agree to new terms", Fault.SETTINGS
    ),
}  # fmt: skip


def refused(
    problem: Mapping[str, object], authority: str, name: str, port: str, hold: float | None = None
) -> Refused:
    """The error of a problem document. `port` is where the challenge of the order is answered, in words."""
    kind = str(problem.get("type", "")).removeprefix(URN)
    parts = [*_subproblems(problem)]
    kinds = [str(part.get("type", "")).removeprefix(URN) for part in parts]
    advised = next((each for each in (kind, *kinds) if each in ADVICE and each != "compound"), kind)
    advice = ADVICE.get(advised, Advice("the authority has refused", Fault.AUTHORITY))
    text = advice.text.format(name=name, port=port)
    said = "; ".join([_detail(problem), *(_of_identifier(part) for part in parts)])
    return Refused(f"{text} ({authority} says: {said})", advice.fault, hold, kind)


def _subproblems(problem: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    found = problem.get("subproblems")
    for each in (found if isinstance(found, list) else [])[:MOST_SUBPROBLEMS]:
        if isinstance(each, dict):
            yield each


def _of_identifier(problem: Mapping[str, object]) -> str:
    identifier = problem.get("identifier")
    value = identifier.get("value") if isinstance(identifier, dict) else None
    return f"{shown(value)}: {_detail(problem)}" if value else _detail(problem)


def _detail(problem: Mapping[str, object]) -> str:
    return shown(problem.get("detail") or problem.get("title") or problem.get("type") or "nothing")


def shown(text: object) -> str:
    """Foreign text for a message: one line of printable characters, LONGEST_DETAIL at most."""
    line = " ".join(str(text)[: 2 * LONGEST_DETAIL].split())
    line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return line if len(line) <= LONGEST_DETAIL else f"{line[:LONGEST_DETAIL]}..."
