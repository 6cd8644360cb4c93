"""A request as a policy sees it (`lb.core.policies.base.Asking`): as its client sent it, and from where."""

from collections.abc import Sequence

from lb.core.client_address import endpoint_of
from lb.core.exchange_record import ExchangeRecord
from lb.http1.fields import cookies_in
from lb.http1.request_head import RequestHead
from lb.proxy.sides import ClientSide


class AskedFor:
    """The part of an exchange that policies see, and what a backend may be told of its connection."""

    __slots__ = ()

    client: ClientSide
    head: RequestHead
    record: ExchangeRecord

    @property
    def address(self) -> str:
        return self.client.address

    @property
    def subject(self) -> str | None:
        secured = self.record.secured
        if secured is None or secured.certificate is None:
            return None
        from lb.tls.client_subject import distinct_subject_of

        return distinct_subject_of(secured.certificate)

    @property
    def target(self) -> bytes:
        return self.head.target

    def field(self, name: bytes) -> bytes | None:
        return self.head.field(name)

    def cookie(self, name: bytes) -> bytes | None:
        return next(iter(self.cookies(name)), None)

    def cookies(self, name: bytes) -> Sequence[bytes]:
        return cookies_in(self.head.lines, name)

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """As `lb.proxy.sides.Borrower`."""
        announced = self.record.announced
        there = self.client.wire.local_end() if announced is None else announced.destination
        return endpoint_of(self.record.peer), there
