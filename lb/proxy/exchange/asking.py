"""A request as a policy sees it (`lb.core.policies.base.Asking`): as its client sent it."""

from collections.abc import Sequence

from lb.http1.fields import cookies_in
from lb.http1.request_head import RequestHead
from lb.proxy.sides import ClientSide


class AskedFor:
    """The part of an exchange that policies see."""

    __slots__ = ()

    client: ClientSide
    head: RequestHead

    @property
    def address(self) -> str:
        return self.client.address

    @property
    def target(self) -> bytes:
        return self.head.target

    def field(self, name: bytes) -> bytes | None:
        return self.head.field(name)

    def cookie(self, name: bytes) -> bytes | None:
        return next(iter(self.cookies(name)), None)

    def cookies(self, name: bytes) -> Sequence[bytes]:
        return cookies_in(self.head.lines, name)
