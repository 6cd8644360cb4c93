"""What an operator calls a certificate: by the first of its names, which stays when it is renewed.

Where several begin with one name, the first in the settings has it for itself, and the others have their type
of key behind it, or a number.
"""

from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lb.tls.certificate import Certificate


def by_id(certificates: Iterable["Certificate"]) -> dict[str, "Certificate"]:
    """The certificates by their ids, in the order of the settings."""
    found: dict[str, Certificate] = {}
    for each in certificates:
        name = each.names[0] if each.names else each.chain_file
        if name in found:
            name = f"{name}~{each.key_type.lower()}"
        if name in found:
            name = next(numbered for at in count(2) if (numbered := f"{name}-{at}") not in found)
        found[name] = each
    return found
