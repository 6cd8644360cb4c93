"""What `lb config check` says of TLS: files, names of routes, backends."""

import subprocess
import sys
from pathlib import Path

import pytest

from lb.config.loader import build
from lb.config.tls_check import MOST_HOSTS, check_backend_files, listens_with_tls, serves_tls, tls_notes
from lb.errors import ConfigError
from lb.tls import requirement
from tests.kit.certificates import DAY, NOW, authority, certificate

ROOT_FOLDER = Path(__file__).parents[2]
ROOT = authority()
GOOD = (NOW - 10 * DAY, NOW + 80 * DAY)


def served(folder: Path, *names: str, valid: tuple[float, float] = GOOD) -> dict[str, object]:
    """Tables with a TLS listener and a certificate for these names."""
    chain, key = certificate(*names, by=ROOT, valid=valid).write(folder)
    return {"listen": ["https://:443"], "tls": {"certificates": [{"chain": chain, "key": key}]}}


def notes(tables: dict[str, object]) -> list[str]:
    return [*tls_notes(build(tables), NOW)]


def routes(*hosts: str) -> list[dict[str, str]]:
    return [{"host": host, "pool": "default"} for host in hosts]


def test_without_tls_there_is_nothing_to_say() -> None:
    assert notes({}) == []


def test_files_are_opened(tmp_path: Path) -> None:
    tables = served(tmp_path, "a.test")
    assert notes(tables) == []
    (tmp_path / "www.key").unlink()
    with pytest.raises(
        ConfigError, match=r"^tls.certificates\[0\].key: .*/www.key cannot be read: No such file"
    ):
        notes(tables)


def test_warnings_are_told(tmp_path: Path) -> None:
    [note] = notes(served(tmp_path, "a.test", valid=(NOW - 90 * DAY, NOW + 5 * DAY)))
    assert note.startswith(f"{tmp_path}/www.pem: it ends on 2026-12-02")


def test_tls_without_a_listener(tmp_path: Path) -> None:
    tables = served(tmp_path, "a.test") | {"listen": [":80"], "routes": routes("b.test")}
    assert notes(tables) == ["tls: no listener begins with https://, so this is used by none"]


def test_hosts_without_a_certificate(tmp_path: Path) -> None:
    tables = served(tmp_path, "a.test", "*.b.test", "x.c.test")
    hosts = ["a.test", "www.a.test", "b.test", "www.b.test", "*.b.test", "*.c.test", "*.d.test", "b.test"]
    says = "routes: {} has a route and no certificate"
    assert notes(tables | {"routes": routes(*hosts)}) == [
        says.format("www.a.test"),
        says.format("b.test"),
        says.format("*.d.test"),
    ]


def test_not_every_host_is_named(tmp_path: Path) -> None:
    hosts = [f"{number}.b.test" for number in range(MOST_HOSTS + 2)]
    found = notes(served(tmp_path, "a.test") | {"routes": routes(*hosts)})
    assert len(found) == MOST_HOSTS + 1
    assert found[-1] == "routes: 2 more hosts have a route and no certificate"


def test_a_default_is_no_certificate_of_a_host(tmp_path: Path) -> None:
    tables = served(tmp_path, "a.test") | {"routes": routes("b.test")}
    tables["tls"] = {**dict(tables["tls"]), "default": "a.test"}  # type: ignore[call-overload]
    assert notes(tables) == ["routes: b.test has a route and no certificate"]


def test_the_files_of_pools_are_opened(tmp_path: Path) -> None:
    pool: dict[str, object] = {"backends": [{"url": "https://a.test"}]}
    assert notes({"pools": {"web": pool}}) == []
    with pytest.raises(ConfigError, match=r"^pools.web.tls.ca: /nowhere cannot be read"):
        notes({"pools": {"web": {**pool, "tls": {"ca": "/nowhere"}}}})
    chain, key = certificate("us", by=ROOT, valid=GOOD).write(tmp_path)
    [note] = notes({"pools": {"web": {**pool, "tls": {"chain": chain, "key": key}}}})
    assert note.startswith(f"pools.web.tls: {chain}: it is not for clients")


def test_backends_that_are_not_verified_or_have_no_tls() -> None:
    pool: dict[str, object] = {"backends": [{"url": "https://a.test"}], "tls": {"verify": False}}
    says = "pools.web.tls.verify: false: whoever answers at a backend's address is taken for it"
    assert notes({"pools": {"web": pool}}) == [says]
    pool["backends"] = [{"url": "http://a.test:443"}]
    says = "pools.web.tls: no backend of this pool has a URL that begins with https"
    assert notes({"pools": {"web": pool}}) == [says]


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"tls": {"profile": "modern"}}, "tls"),
        ({"pools": {"web": {"backends": [{"url": "https://a"}]}}}, "pools.web.tls"),
    ],
)
def test_the_package_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tables: dict[str, object], key: str
) -> None:
    monkeypatch.setattr(requirement, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=rf"^{key}: TLS needs the package .*: pip install 'trio-lb\[tls\]'"):
        notes(tables)


def test_without_tls_nothing_of_it_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    file.write_text("")
    script = "import sys, lb.program; from lb import cli; cli.main(['config', 'check', sys.argv[1]])\n"
    script += "print([name for name in sys.modules if name.startswith(('lb.tls', 'cryptography'))])"
    done = subprocess.run(
        [sys.executable, "-c", script, str(file)], cwd=ROOT_FOLDER, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_file_for_backends_is_wanted_where_one_has_tls(tmp_path: Path) -> None:
    for url in ("http://a.test", "https://a.test"):
        pool = {"backends": [{"url": url}], "tls": {"ca": f"{tmp_path}/none.pem"}}
        config = build({"pools": {"app": pool}})
        if url.startswith("https"):
            with pytest.raises(ConfigError, match=r"^pools\.app\.tls\.ca: .*/none\.pem cannot be read"):
                check_backend_files(config)
        else:
            check_backend_files(config)


ACME = {"names": ["www.a.test"], "terms_agreed": True}


def with_acme(folder: Path, *listen: str, **more: object) -> dict[str, object]:
    acme = {**ACME, "storage": str(folder / "acme"), **more}
    return {"listen": [*listen], "tls": {"acme": acme, "default": "www.a.test"}}


def test_certificates_that_are_ordered(tmp_path: Path) -> None:
    """Their names may stand where there is no certificate yet."""
    tables = with_acme(tmp_path, ":80", "https://:443", names="routes")
    tables["routes"] = [{"host": "www.a.test", "pool": "default"}, {"host": "localhost", "pool": "default"}]
    assert notes(tables) == ["routes: localhost has a route and no certificate"]
    assert not (tmp_path / "acme").exists()


def test_what_stands_in_the_way_of_orders(tmp_path: Path) -> None:
    [note] = notes(with_acme(tmp_path, "https://:443"))
    assert note.startswith(
        "tls.acme.challenge: http-01 is answered by plain listeners, such as :80, and there"
    )
    assert notes(with_acme(tmp_path, "https://:443", challenge="tls-alpn-01")) == []
    [note] = notes(with_acme(tmp_path, ":80", "https://:443", names="routes"))
    assert note.startswith("tls.acme.names: no route has a host")


def test_a_storage_that_cannot_be_used(tmp_path: Path) -> None:
    tables = with_acme(tmp_path, ":80", "https://:443")
    (tmp_path / "acme").mkdir(0o755)
    with pytest.raises(
        ConfigError, match=r"^tls.acme.storage: .*/acme can be read or changed by others: chmod"
    ):
        notes(tables)
    (tmp_path / "acme").rmdir()
    (tmp_path / "acme").write_text("")
    with pytest.raises(ConfigError, match=r"^tls.acme.storage: .*/acme is not a folder"):
        notes(tables)
    nowhere = with_acme(Path("/proc/self"), ":80", "https://:443")
    with pytest.raises(ConfigError, match=r"^tls.acme.storage: /proc/self cannot be written"):
        notes(nowhere)


@pytest.mark.parametrize(
    ("listen", "is_noted"),
    [("127.0.0.1:9000", False), (":9000", True), ("https://:9000", False), ("unix:/run/admin.sock", False)],
)
def test_tokens_that_others_could_read_on_their_way_are_noted(
    tmp_path: Path, listen: str, is_noted: bool
) -> None:
    tables = {**served(tmp_path, "a.test"), "admin": {"listen": listen}}
    noted = [f"admin.listen: tokens come to {listen} unencrypted; https:// before it is TLS"]
    assert notes(tables) == (noted if is_noted else [])
    assert notes({**tables, "admin": {"listen": listen, "enabled": False}}) == []


def test_certificates_for_operators_alone_are_used(tmp_path: Path) -> None:
    tables = {**served(tmp_path, "a.test"), "listen": ["127.0.0.1:80"], "admin": {"listen": "https://:9000"}}
    assert notes(tables) == []
    assert serves_tls(build(tables))
    assert not listens_with_tls(build(tables))
    ordered = {**tables, "tls": {**tables["tls"], "acme": {**ACME, "storage": str(tmp_path)}}}  # type: ignore[dict-item]
    tmp_path.chmod(0o700)
    assert "tls.acme: no address in `listen` begins with https://, so no certificate is ordered" in notes(
        ordered
    )


def test_the_authorities_of_operators_are_opened(tmp_path: Path) -> None:
    admin = {"listen": "https://:9000", "client_ca": f"{tmp_path}/none.pem", "tokens_file": "tokens"}
    with pytest.raises(ConfigError, match=r"^admin\.client_ca: .*/none\.pem cannot be read"):
        notes({**served(tmp_path, "a.test"), "admin": admin})
