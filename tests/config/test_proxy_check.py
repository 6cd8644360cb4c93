"""What `lb config check` says of the PROXY protocol."""

from typing import Any

import pytest

from lb.config.loader import build
from lb.config.proxy_check import proxy_notes


@pytest.mark.parametrize(
    ("listen", "senders", "notes"),
    [
        ([":80"], [], []),
        (["proxy+http://:80", ":81"], ["10.0.0.0/8"], []),
        ([":80"], ["10.0.0.0/8"], ["no listener begins with proxy+"]),
        ([":80"], ["0.0.0.0/0"], ["no listener begins with proxy+"]),
        (["proxy+http://:80"], ["10.0.0.0/8", "::/0"], ["::/0 is everybody"]),
        (["proxy+http://:80"], ["unix"], ["listen[0]: proxy+http://:80: no network is in"]),
        ([":80", "proxy+http://unix:/a"], ["10.0.0.0/8"], ['listen[1]: proxy+http://unix:/a: "unix" is not']),
        (["proxy+http://unix:/a"], ["unix"], []),
        (["proxy+http://fd://3"], ["10.0.0.0/8"], []),
    ],
)
def test_notes(listen: list[str], senders: list[str], notes: list[str]) -> None:
    tables: dict[str, Any] = {"listen": listen, "proxy_protocol_from": senders}
    found = [*proxy_notes(build(tables))]
    assert len(found) == len(notes), found
    assert all(part in note for part, note in zip(notes, found, strict=True)), found
