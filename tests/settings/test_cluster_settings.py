"""`[cluster]`: each mistake names its key."""

from pathlib import Path
from typing import Any

import pytest

from lb.cluster.connecting import check_cache, endpoints, login, name_of
from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.cluster_settings import ClusterSettings

ETCD = ["http://127.0.0.1:2379"]


def read(**table: Any) -> ClusterSettings:
    cluster = build({"cluster": {"etcd": ETCD, **table}}).cluster
    assert cluster is not None
    return cluster


def test_most_goes_without_saying() -> None:
    plain = read()
    assert (plain.prefix, plain.ttl, plain.lost, plain.start) == ("/trio-lb/main", 10.0, "serve", "wait")
    assert name_of(plain)
    assert name_of(read(name="lb-3")) == "lb-3"
    assert read(prefix="/a/b/").prefix == "/a/b"
    assert build({}).cluster is None


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"etcd": []}, "cluster.etcd: expected the URL of at least one"),
        ({"prefix": "main"}, "cluster.prefix: 'main' is not a slash and"),
        ({"prefix": "/a//b"}, "cluster.prefix: '/a//b' is not a slash and"),
        ({"name": "a b"}, "cluster.name: 'a b' may hold letters"),
        ({"ttl": "500ms"}, "cluster.ttl: 0.5 s is no whole number of seconds from 2"),
        ({"ttl": "2500ms"}, "cluster.ttl: 2.5 s is no whole number"),
        ({"lost": "stop"}, "cluster.lost: "),
        ({"key": "x"}, "cluster.key: there is no `chain`"),
        ({"password_file": "x"}, "cluster.password_file: there is no `user`"),
        ({"prefx": "/a"}, "cluster.prefx: unknown key"),
    ],
)
def test_a_mistake_names_its_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(**table)


def test_a_state_file_and_a_cluster_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="state: in a cluster etcd keeps the changes"):
        build({"state": "/tmp/x", "cluster": {"etcd": ETCD}})


def test_what_is_no_endpoint() -> None:
    with pytest.raises(ConfigError, match=r"cluster.etcd\[1\]: 'ftp://x': expected"):
        endpoints(read(etcd=[*ETCD, "ftp://x"]))


def test_a_password_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match=r"cluster.password_file: /nowhere"):
        login(read(user="lb", password_file="/nowhere"))


async def test_a_password_is_read_anew_whenever_it_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    file.chmod(0o600)
    ours = login(read(user="lb", password_file=str(file)))
    assert await ours.show() == "first"
    file.write_text("second\n")
    assert await ours.show() == "second"
    file.unlink()
    assert await ours.show() == "second"


def test_a_password_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is not in UTF-8"):
        login(read(user="lb", password_file=str(file)))


def test_a_cache_that_cannot_be_kept(tmp_path: Path) -> None:
    check_cache(read(cache=str(tmp_path / "new.json")))
    with pytest.raises(ConfigError, match=r"cluster.cache: /dev/null is not a regular file"):
        check_cache(read(cache="/dev/null"))
    with pytest.raises(ConfigError, match=r"cluster.cache: /nowhere/x cannot be written: No such"):
        check_cache(read(cache="/nowhere/x"))
