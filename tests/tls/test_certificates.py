"""What is served: which name gets what, and how that changes while clients are there."""

import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from cryptography import x509

from lb.errors import ConfigError
from lb.settings.tls_settings import CertificateFiles, TlsClients, TlsSettings
from lb.tls import certificate as certificate_module
from lb.tls import certificates as module
from lb.tls import draft
from lb.tls.certificate import Certificate
from lb.tls.certificates import Certificates, Plan
from lb.tls.contexts import show
from lb.tls.draft import OfAdmin
from lb.tls.pem_files import PemFile
from tests.kit.certificates import CLIENT, DAY, NOW, Issued, authority, certificate, rsa_key
from tests.kit.handshakes import client_context, handshake

ROOT = authority()
CLIENTS = authority("Clients")
OTHER_CLIENTS = authority("Other Clients")
GOOD = (NOW - 10 * DAY, NOW + 80 * DAY)
A = certificate("a.test", "www.a.test", by=ROOT, valid=GOOD)
STAR = certificate("*.a.test", by=ROOT, valid=GOOD)
A_RSA = certificate("a.test", by=ROOT, valid=GOOD, key=rsa_key(2048))
CAS = {"clients": CLIENTS.pem, "others": OTHER_CLIENTS.pem}


class Files:
    """Files in memory: each certificate by its name, with its key in the same file; and authorities."""

    def __init__(self, **issued: Issued) -> None:
        self.texts = {name: each.chain + each.key_pem for name, each in issued.items()} | CAS

    def read(self, path: str) -> PemFile:
        if path not in self.texts:
            raise ConfigError(f"{path} cannot be read: No such file or directory")
        return PemFile(path, self.texts[path].encode(), 0o600)

    def __setitem__(self, name: str, issued: Issued) -> None:
        self.texts[name] = issued.chain + issued.key_pem


def settings(*names: str, clients: Sequence[TlsClients] = (), **others: object) -> TlsSettings:
    files = tuple(CertificateFiles(chain=name) for name in names)
    return TlsSettings(certificates=files, clients=tuple(clients), **others)  # type: ignore[arg-type]


def serving(files: Files, wanted: TlsSettings) -> Certificates:
    certificates = Certificates()
    applied(certificates, files, wanted)
    return certificates


def applied(certificates: Certificates, files: Files, wanted: TlsSettings) -> Plan:
    plan = certificates.prepare(wanted, NOW, files.read)
    certificates.apply(plan)
    return plan


def found(certificates: Certificates, *names: str) -> Mapping[str, str | None]:
    """The file of the certificate that each name gets."""
    served = {name: certificates.find(name) for name in names}
    return {name: each.certificates[0].chain_file if each else None for name, each in served.items()}


def context(certificates: Certificates, name: str) -> ssl.SSLContext:
    served = certificates.find(name)
    assert served is not None
    return served.context


def test_nothing_is_served_at_first() -> None:
    assert found(Certificates(), "", "a.test") == {"": None, "a.test": None}


def test_a_name_gets_the_certificate_that_has_it() -> None:
    certificates = serving(Files(a=A, star=STAR), settings("star", "a"))
    assert found(certificates, "a.test", "www.a.test", "b.a.test") == {
        "a.test": "a",
        "www.a.test": "a",
        "b.a.test": "star",
    }
    assert [each.chain_file for each in certificates.all] == ["star", "a"]


def test_a_name_that_nobody_has_gets_nothing() -> None:
    certificates = serving(Files(a=A, star=STAR), settings("star", "a"))
    for name in ("", "b.test", "test", "c.b.a.test", "a.test.b", "xa.test", "*", ".a.test.", "*.test"):
        assert certificates.find(name) is None


def test_the_default_stands_in_only_where_it_is_set() -> None:
    files = Files(a=A, star=STAR)
    certificates = serving(files, settings("star", "a", default="www.a.test"))
    assert found(certificates, "", "b.test", "b.a.test") == {"": "a", "b.test": "a", "b.a.test": "star"}
    assert certificates.table.named("b.test") is None
    with pytest.raises(ConfigError, match=r"^tls.default: no certificate has b.test$"):
        certificates.prepare(settings("star", default="b.test"), NOW, files.read)
    assert found(serving(files, settings("star", default="b.a.test")), "")[""] == "star"


def test_a_handshake_with_what_a_name_gets() -> None:
    certificates = serving(Files(a=A, star=STAR), settings("star", "a"))
    ended = handshake(client_context(), context(certificates, "b.a.test"), "b.a.test")
    assert ended.shown == ssl.PEM_cert_to_DER_cert(STAR.pem)


def test_keys_of_two_types_are_served_by_one_context() -> None:
    certificates = serving(Files(a=A, rsa=A_RSA), settings("a", "rsa"))
    served = certificates.find("a.test")
    assert served is not None
    assert [each.key_type for each in served.certificates] == ["EC", "RSA"]
    client = client_context(versions=(ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2))
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert handshake(client, served.context).shown == ssl.PEM_cert_to_DER_cert(A_RSA.pem)
    with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
        handshake(client, context(certificates, "www.a.test"))


def test_of_two_certificates_with_a_name_the_one_is_served_that_ends_last() -> None:
    longer = certificate("a.test", by=ROOT, valid=(NOW - DAY, NOW + 90 * DAY))
    for order in (("a", "longer"), ("longer", "a")):
        certificates = Certificates()
        plan = applied(certificates, Files(a=A, longer=longer), settings(*order))
        assert found(certificates, "a.test", "www.a.test") == {"a.test": "longer", "www.a.test": "a"}
        assert [*plan.warnings] == [
            f"{order[0]} and {order[1]} both have a.test; longer is served: it ends last"
        ]


# -- policies about certificates of clients ----------------------------------------------------------------


def clients(*hosts: str, ca: str = "clients", **others: object) -> TlsClients:
    return TlsClients(hosts=hosts, ca=ca, **others)  # type: ignore[arg-type]


def asked(certificates: Certificates, *names: str) -> Mapping[str, str | None]:
    """Whose certificates each name asks for."""
    served = {name: certificates.find(name) for name in names}
    return {name: each.policy.ca_file if each and each.policy else None for name, each in served.items()}


def test_the_policy_of_a_host_is_that_of_its_context() -> None:
    """Nobody gets into a host that wants a certificate without one, whatever its neighbours want."""
    wanted = settings("a", "star", clients=[clients("in.a.test", "a.test")])
    certificates = serving(Files(a=A, star=STAR), wanted)
    assert asked(certificates, "a.test", "www.a.test", "in.a.test", "out.a.test") == {
        "a.test": "clients",
        "www.a.test": None,
        "in.a.test": "clients",
        "out.a.test": None,
    }
    for name in ("a.test", "in.a.test"):
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            handshake(client_context(), context(certificates, name), name)
    handshake(client_context(), context(certificates, "out.a.test"), "out.a.test")
    handshake(client_context(), context(certificates, "www.a.test"), "www.a.test")


def test_a_session_of_one_host_is_none_of_another() -> None:
    certificates = serving(Files(star=STAR), settings("star", clients=[clients("in.a.test")]))
    client = client_context()
    open_to_all = handshake(client, context(certificates, "out.a.test"), "out.a.test")
    open_to_all.says()
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(client, context(certificates, "in.a.test"), "in.a.test", open_to_all.client.session)


def test_the_nearest_policy_counts() -> None:
    deep = certificate("c.b.a.test", "*.b.a.test", by=ROOT, valid=GOOD)
    policies = [clients("*.a.test"), clients("*.b.a.test", ca="others"), clients("x.b.a.test")]
    certificates = serving(Files(a=A, star=STAR, deep=deep), settings("a", "star", "deep", clients=policies))
    assert asked(
        certificates, "a.test", "www.a.test", "z.a.test", "c.b.a.test", "y.b.a.test", "x.b.a.test"
    ) == {
        "a.test": None,
        "www.a.test": "clients",
        "z.a.test": "clients",
        "c.b.a.test": "others",
        "y.b.a.test": "others",
        "x.b.a.test": "clients",
    }
    assert certificates.table.policy_of("q.c.b.a.test") == certificates.table.policy_of("y.b.a.test")
    assert certificates.table.policy_of("b.test") is None


def test_a_policy_without_hosts_is_for_all_that_have_none() -> None:
    policies = [clients(), clients("a.test", ca="others")]
    certificates = serving(Files(a=A), settings("a", clients=policies, default="a.test"))
    assert asked(certificates, "a.test", "www.a.test", "", "b.test") == {
        "a.test": "others",
        "www.a.test": "clients",
        "": "clients",
        "b.test": "clients",
    }


def test_a_name_that_only_the_default_serves_keeps_its_policy() -> None:
    wanted = settings("a", clients=[clients("in.test", "*.b.test")], default="a.test")
    certificates = serving(Files(a=A), wanted)
    assert asked(certificates, "in.test", "c.b.test", "b.test", "") == {
        "in.test": "clients",
        "c.b.test": "clients",
        "b.test": None,
        "": None,
    }


def test_what_a_policy_says() -> None:
    policies = [clients("a.test", need="offered", tell=False)]
    certificates = serving(Files(a=A), settings("a", clients=policies))
    policy = certificates.table.policy_of("a.test")
    assert policy is not None
    assert (policy.need, policy.tell, policy.authorities) == ("offered", False, CLIENTS.pem)
    handshake(client_context(), context(certificates, "a.test"))
    mine, me = client_context(), certificate("me", by=CLIENTS, usages=(CLIENT,))
    show(mine, (me.chain + me.key_pem).encode())
    shown = handshake(mine, context(certificates, "a.test")).server.getpeercert(binary_form=True)
    assert shown == ssl.PEM_cert_to_DER_cert(me.pem)


def test_a_host_with_a_policy_and_no_certificate_is_told() -> None:
    plan = Certificates().prepare(
        settings("a", clients=[clients("b.test", "*.c.test")]), NOW, Files(a=A).read
    )
    assert plan.warnings == ("tls.clients: no certificate has b.test, so nobody gets there",)


# -- changes -----------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_tells_what_it_would() -> None:
    files = Files(a=A, star=STAR)
    certificates = serving(files, settings("a", "star"))
    renewed = certificate("a.test", "new.test", by=ROOT, valid=(NOW, NOW + 90 * DAY))
    files["a"] = renewed
    plan = certificates.prepare(settings("a"), NOW, files.read)
    assert plan.names_gained == ("new.test",)
    assert plan.names_lost == ("www.a.test", "*.a.test")
    changes = {change.before and change.before.chain_file: change for change in plan.changes}
    assert changes["a"].before is not None
    assert changes["a"].after is not None
    assert (changes["a"].before.days_left(NOW), changes["a"].after.days_left(NOW)) == (80, 90)
    assert changes["star"].after is None
    assert tuple(plan.files) == ("a",)
    assert found(certificates, "www.a.test", "new.test") == {"www.a.test": "a", "new.test": None}
    certificates.apply(plan)
    assert found(certificates, "www.a.test", "new.test", "b.a.test") == {
        "www.a.test": None,
        "new.test": "a",
        "b.a.test": None,
    }


def test_nothing_changes_where_the_files_are_the_same() -> None:
    files = Files(a=A)
    certificates = serving(files, settings("a"))
    before = context(certificates, "a.test")
    plan = applied(certificates, files, settings("a"))
    assert (plan.changes, plan.names_gained, plan.names_lost) == ((), (), ())
    assert context(certificates, "a.test") is before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_survive_a_renewal(version: ssl.TLSVersion) -> None:
    files = Files(a=A)
    certificates = serving(files, settings("a"))
    client = client_context(versions=(version, version))
    first = handshake(client, context(certificates, "a.test"))
    first.says()
    renewed = certificate("a.test", by=ROOT, valid=(NOW, NOW + 90 * DAY))
    files["a"] = renewed
    applied(certificates, files, settings("a"))
    assert handshake(client, context(certificates, "a.test")).shown == ssl.PEM_cert_to_DER_cert(renewed.pem)
    again = handshake(client, context(certificates, "a.test"), session=first.client.session)
    assert again.client.session_reused
    served = certificates.find("a.test")
    assert served is not None
    assert served.certificates[0].days_left(NOW) == 90


def test_a_key_of_another_type_gets_a_new_context() -> None:
    files = Files(a=A)
    certificates = serving(files, settings("a"))
    before = context(certificates, "a.test")
    files["a"] = A_RSA
    applied(certificates, files, settings("a"))
    assert context(certificates, "a.test") is not before
    shown = handshake(client_context(), context(certificates, "a.test")).shown
    assert shown == ssl.PEM_cert_to_DER_cert(A_RSA.pem)


def test_another_policy_or_profile_gets_a_new_context() -> None:
    files = Files(a=A)
    wanted = settings("a", clients=[clients()])
    certificates = serving(files, wanted)
    before = context(certificates, "a.test")
    files.texts["clients"] = OTHER_CLIENTS.pem
    applied(certificates, files, wanted)
    after = context(certificates, "a.test")
    assert after is not before
    applied(certificates, files, settings("a", clients=[clients()], profile="modern"))
    assert context(certificates, "a.test") is not after
    assert context(certificates, "a.test").minimum_version is ssl.TLSVersion.TLSv1_3


def test_all_contexts_are_new_where_tickets_shall_be() -> None:
    files = Files(a=A)
    certificates = serving(files, settings("a"))
    before = context(certificates, "a.test")
    certificates.apply(certificates.prepare(settings("a"), NOW, files.read, fresh=True))
    assert context(certificates, "a.test") is not before


def test_a_live_context_that_does_not_take_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files(a=A)
    certificates = serving(files, settings("a"))
    before = context(certificates, "a.test")
    renewed = certificate("a.test", by=ROOT, valid=GOOD)
    files["a"] = renewed
    plan = certificates.prepare(settings("a"), NOW, files.read)

    def no_descriptor(_context: ssl.SSLContext, _pem: bytes) -> None:
        raise OSError("no descriptor is left")

    monkeypatch.setattr(module, "show", no_descriptor)
    certificates.apply(plan)
    assert context(certificates, "a.test") is not before
    assert handshake(client_context(), context(certificates, "a.test")).shown == ssl.PEM_cert_to_DER_cert(
        renewed.pem
    )


def test_a_plan_is_applied_in_steps() -> None:
    files = Files(a=A, star=STAR)
    certificates = serving(files, settings("a", "star"))
    renewed = certificate("a.test", "new.test", by=ROOT, valid=GOOD)
    files["a"], files["star"] = renewed, certificate("*.a.test", by=ROOT, valid=GOOD)
    first, second = (certificates.prepare(settings("a", "star"), NOW, files.read) for _ in range(2))
    steps = certificates.applying(first)
    next(steps)
    meanwhile = certificates.prepare(settings("a"), NOW, files.read)
    with pytest.raises(ValueError, match="out of date"):
        certificates.apply(second)
    assert certificates.find("new.test") is None
    assert len([*steps]) == 1
    assert found(certificates, "new.test", "b.a.test") == {"new.test": "a", "b.a.test": "star"}
    with pytest.raises(ValueError, match="out of date"):
        certificates.apply(meanwhile)


def test_a_change_costs_what_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a hundred certificates one is renewed: no other is judged again, and no other context is made."""
    names = [f"{number}.test" for number in range(100)]
    files = Files(**{name: certificate(name, by=ROOT, valid=GOOD) for name in names})
    certificates = serving(files, settings(*names))
    before = {name: certificates.find(name) for name in names}
    files["7.test"] = certificate("7.test", by=ROOT, valid=GOOD)
    judged, shown = Counter[str](), Counter[bytes]()
    facts = certificate_module._facts

    def judge(chain: Sequence[x509.Certificate], file: PemFile, key: PemFile) -> Certificate:
        judged[file.path] += 1
        return facts(chain, file, key)

    def show_it(context: ssl.SSLContext, pem: bytes) -> None:
        shown[pem] += 1
        show(context, pem)

    monkeypatch.setattr(certificate_module, "_facts", judge)
    monkeypatch.setattr(draft, "show", show_it)
    monkeypatch.setattr(module, "show", show_it)
    plan = applied(certificates, files, settings(*names))
    assert judged == {"7.test": 1}
    assert [*shown.values()] == [2]  # on a context of its own, and on the live one
    assert [change.after and change.after.chain_file for change in plan.changes] == ["7.test"]
    assert [name for name in names if certificates.find(name) is not before[name]] == ["7.test"]


def test_a_plan_is_applied_before_another_one_or_not_at_all() -> None:
    files = Files(a=A, star=STAR)
    certificates = Certificates()
    first, second = (certificates.prepare(settings(name), NOW, files.read) for name in ("a", "star"))
    certificates.apply(second)
    with pytest.raises(ValueError, match="out of date"):
        certificates.apply(first)
    assert found(certificates, "a.test", "b.a.test") == {"a.test": None, "b.a.test": "star"}


def test_a_mistake_loses_nothing_and_every_one_is_told() -> None:
    files = Files(a=A, star=STAR, nameless=certificate(by=ROOT, valid=GOOD))
    certificates = serving(files, settings("a"))
    files.texts["star"] = STAR.pem + A.key_pem
    wanted = settings("star", "nowhere", "a", "nameless", clients=[clients("a.test", ca="gone")])
    with pytest.raises(ConfigError) as caught:
        certificates.prepare(wanted, NOW, files.read)
    assert [*caught.value.mistakes] == [
        "tls.certificates[0].key: star is not the key of CN=*.a.test in star",
        "tls.certificates[1].chain: nowhere cannot be read: No such file or directory",
        "tls.certificates[3].chain: nameless: the certificate has no names; "
        "clients look at its subjectAltName only",
        "tls.clients[0].ca: gone cannot be read: No such file or directory",
    ]
    assert found(certificates, "a.test") == {"a.test": "a"}


def test_a_certificate_stands_there_once() -> None:
    with pytest.raises(
        ConfigError, match=r"^tls.certificates\[1\].chain: a is that of tls.certificates\[0\] too$"
    ):
        Certificates().prepare(settings("a", "a"), NOW, Files(a=A).read)


def test_what_openssl_does_not_take_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(_context: ssl.SSLContext, _pem: bytes) -> None:
        error = ssl.SSLError(1, "[SSL: EE_KEY_TOO_SMALL] ee key too small")
        error.reason = "EE_KEY_TOO_SMALL"
        raise error

    monkeypatch.setattr(draft, "show", too_small)
    with pytest.raises(
        ConfigError, match=r"^tls.certificates\[0\].chain: a: OpenSSL does not take it: .*EE_KEY"
    ):
        Certificates().prepare(settings("a"), NOW, Files(a=A).read)


def test_real_files(tmp_path: Path) -> None:
    chain, key = A.write(tmp_path)
    ca = tmp_path / "ca.pem"
    ca.write_text(CLIENTS.pem)
    wanted = TlsSettings(
        certificates=(CertificateFiles(chain=chain, key=key),), clients=(TlsClients(ca=str(ca)),)
    )
    plan = Certificates().prepare(wanted, NOW)
    assert tuple(plan.files) == (chain, key, str(ca))
    assert plan.warnings == ()
    assert "PRIVATE" not in repr(plan)


def test_operators_have_a_table_and_a_policy_of_their_own() -> None:
    files = Files(a=A, star=STAR)
    certificates = Certificates(admin=OfAdmin("others"))
    wanted = settings("a", "star", clients=[TlsClients(ca="clients")], default="a.test")
    plan = applied(certificates, files, wanted)
    assert tuple(plan.files) == ("a", "star", "clients", "others")
    for name in ("a.test", "www.a.test", "x.a.test", "nobody.test"):
        ours, theirs = certificates.admin_table.find(name), certificates.table.find(name)
        assert ours is not None
        assert theirs is not None
        assert ours.context.verify_mode is ssl.CERT_OPTIONAL
        assert theirs.context.verify_mode is ssl.CERT_REQUIRED
        assert ours.certificates == theirs.certificates
    assert certificates.admin_table.named("nobody.test") is None


def test_what_operators_get_is_swapped_with_all_else() -> None:
    files = Files(a=A)
    certificates = Certificates(admin=OfAdmin(None))
    applied(certificates, files, settings("a"))
    before = certificates.admin_table.find("a.test")
    files["a"] = renewed = certificate("a.test", by=ROOT, valid=GOOD)
    applied(certificates, files, settings("a"))
    after = certificates.admin_table.find("a.test")
    assert before is not None
    assert after is not None
    assert after.context is before.context  # session tickets stay good
    assert int(after.certificates[0].serial, 16) == renewed.certificate.serial_number


def test_a_mistake_in_the_authorities_of_operators_names_its_key() -> None:
    with pytest.raises(ConfigError, match=r"^admin\.client_ca: none cannot be read"):
        Certificates(admin=OfAdmin("none")).prepare(settings("a"), NOW, Files(a=A).read)


def test_where_no_operator_comes_over_tls_there_is_nothing_for_them() -> None:
    assert serving(Files(a=A), settings("a", default="a.test")).admin_table.find("a.test") is None


def test_other_versions_take_another_context() -> None:
    files, certificates = Files(a=A), Certificates()
    applied(certificates, files, settings("a"))
    before = certificates.find("a.test")
    applied(certificates, files, settings("a", versions=("1.2",)))
    after = certificates.find("a.test")
    assert before is not None
    assert after is not None
    assert before.context.maximum_version is ssl.TLSVersion.MAXIMUM_SUPPORTED
    assert after.context.maximum_version is ssl.TLSVersion.TLSv1_2
