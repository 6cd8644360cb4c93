"""Operators who come over TLS: our certificate for them, theirs, and what each may do."""

import ssl
from pathlib import Path

from tests.kit.certificates import CLIENT, Issued, authority, certificate
from tests.kit.files import secret
from tests.kit.terminations import ROOT, lasting

OPERATORS = authority("Operators")
OTHERS = authority("Somebody else")
TOKENS = "alice admin subject:CN=alice\nrollout drain san:rollout.ops.test\ngrafana read s3cret\n"
NAME = "admin.test"


class Office:
    """A folder with all files: www.pem, ca.pem (who has issued it), operators.pem, tokens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.client_ca = folder / "ca.pem", folder / "operators.pem"
        self.ca.write_text(ROOT.pem)
        self.client_ca.write_text(OPERATORS.pem)
        self.tokens = secret(folder / "tokens", TOKENS)
        self.issued = self.issue()

    def issue(self, issued: Issued | None = None) -> Issued:
        """The admin side's certificate, or another one in its place."""
        self.issued = issued or lasting(NAME, "localhost", "127.0.0.1")
        self.issued.write(self.folder)
        return self.issued

    @property
    def certificates(self) -> list[dict[str, str]]:
        return [{"chain": str(self.folder / "www.pem"), "key": str(self.folder / "www.key")}]

    def show(self, subject: str, by: Issued = OPERATORS) -> tuple[str, str]:
        """The files of an operator's certificate, and of its key."""
        return certificate(f"{subject}.ops.test", by=by, usages=(CLIENT,), subject=subject).write(
            self.folder, subject
        )

    def context(self, subject: str | None = None, by: Issued = OPERATORS) -> ssl.SSLContext:
        """Of a client that trusts us, and shows a certificate if it is to have a subject."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if subject is not None:
            context.load_cert_chain(*self.show(subject, by))
        return context
