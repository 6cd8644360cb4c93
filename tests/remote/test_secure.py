"""TLS with the admin address: the files that flags and variables name."""

from pathlib import Path

import pytest

from lb.remote.exits import Code, Failed
from lb.remote.secure import Files, context_for
from tests.kit.operators import Office

URL = "https://127.0.0.1:9000"


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def failure(url: str, files: Files, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(Failed) as caught:
        context_for(url, files, environ or {})
    assert caught.value.code is Code.MISUSED
    return str(caught.value)


def test_a_flag_wins_over_its_variable(office: Office, tmp_path: Path) -> None:
    environ = {"LB_ADMIN_CA": str(tmp_path / "none.pem")}
    context = context_for(URL, Files(ca=office.ca), environ)
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert failure(URL, Files(), environ).startswith(
        f"--ca: {tmp_path}/none.pem cannot be read: No such file"
    )


def test_our_certificate_may_have_its_key_in_its_file(office: Office, tmp_path: Path) -> None:
    chain, key = map(Path, office.show("alice"))
    both = tmp_path / "both.pem"
    both.write_text(chain.read_text() + key.read_text())
    assert context_for(URL, Files(cert=both), {}) is not None
    assert context_for(URL, Files(cert=chain, key=key), {}) is not None
    assert context_for(URL, Files(), {"LB_ADMIN_CERT": str(chain), "LB_ADMIN_KEY": str(key)}) is not None
    assert failure(URL, Files(cert=chain)).startswith(f"TLS: OpenSSL does not take {chain}: ")
    assert failure(URL, Files(key=key)) == "--key goes with --cert, or with LB_ADMIN_CERT"


def test_without_a_file_the_systems_authorities_are_believed() -> None:
    context = context_for(URL, Files(), {})
    assert context is not None
    assert context.check_hostname


@pytest.mark.parametrize("flag", ["ca", "cert", "key"])
def test_a_flag_of_tls_is_not_ignored_where_nothing_is_encrypted(flag: str) -> None:
    why = failure("http://127.0.0.1:9000", Files(**{flag: Path("a.pem")}))
    assert why == f"--{flag} goes with https://, and http://127.0.0.1:9000 is plain HTTP"


def test_variables_are_for_other_addresses_too() -> None:
    assert context_for("http://127.0.0.1:9000", Files(), {"LB_ADMIN_CA": "none.pem"}) is None


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(b"\xff no certificate")
    assert str(file) in failure(URL, Files(ca=file))
