"""The tokens file."""

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from lb.config.admin_token import admin_token
from lb.config.secret_file import LONGEST
from lb.config.token_scope import Scope
from lb.config.tokens import Token, digest, parse, read
from lb.errors import ConfigError
from lb.settings.balancer_settings import AdminConfig

HASHED = f"sha256:{digest('s3cret').hex()}"


def test_a_token_is_plain_or_hashed_and_is_kept_hashed_only() -> None:
    found = parse(f"# who\n\ngrafana read {HASHED}\n  deploy\tdrain  plain-one  \n")
    assert found == (
        Token("grafana", Scope.READ, digest("s3cret")),
        Token("deploy", Scope.DRAIN, digest("plain-one")),
    )
    assert "plain-one" not in repr(found)


def test_a_certificate_stands_in_place_of_a_token() -> None:
    text = "alice admin subject:CN=Alice Smith,O=Example  \nrollout drain san:spiffe://example/rollout"
    assert parse(text) == (
        Token("alice", Scope.ADMIN, b"", "subject:CN=Alice Smith,O=Example"),
        Token("rollout", Scope.DRAIN, b"", "san:spiffe://example/rollout"),
    )


def test_nobody_can_show_a_certificate_where_no_authority_is_named(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("alice admin subject:CN=alice\n")
    file.chmod(0o600)
    admin = AdminConfig(listen="https://:9000", tokens_file=str(file))
    with pytest.raises(
        ConfigError, match=r"^admin\.tokens_file: .*alice is to show a certificate, and there"
    ):
        admin_token(admin, {})
    assert admin_token(replace(admin, client_ca="ca.pem"), {}) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a read subject:", "line 1: expected NAME SCOPE TOKEN"),
        ("a write subject:CN=a", "line 1: the scope is one of read, drain, admin"),
        ("a read san:a\nb read san:a", "two lines have the same certificate"),
        ("", "there is no token in it"),
        ("# nobody\n", "there is no token in it"),
        ("ok read t0ken\na read", "line 2: expected NAME SCOPE TOKEN"),
        ("a read t0ken more", "line 1: expected NAME SCOPE TOKEN"),
        ("a/b read t0ken", "line 1: expected NAME SCOPE TOKEN"),
        ("a read t0kén", "line 1: expected NAME SCOPE TOKEN"),
        ("a write t0ken", "line 1: the scope is one of read, drain, admin"),
        ("a read sha256:t0ken", "line 1: a SHA-256 has 64 hexadecimal digits"),
        ("anonymous admin t0ken", "line 1: anonymous is a name that the audit gives to others"),
        ("signal admin t0ken", "line 1: signal is a name that the audit gives to others"),
        ("a read t0ken\na drain t0ken2", "two lines have the same name"),
        ("a read t0ken\nb drain t0ken", "two lines have the same token"),
    ],
)
def test_a_mistake_is_named_by_its_line_and_shows_no_token(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"^tokens.*: {why}$|^tokens, {why}") as caught:
        parse(text)
    assert "t0k" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "is_refused"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)]
)
def test_a_file_that_others_can_read_or_change_is_refused(
    tmp_path: Path, mode: int, is_refused: bool
) -> None:
    file = tmp_path / "tokens"
    file.write_text("a read t0ken\n")
    file.chmod(mode)
    if not is_refused:
        assert read(str(file))[0].name == "a"
        return
    with pytest.raises(ConfigError, match=r"^admin\.tokens_file: .* by others: chmod 600 /"):
        read(str(file))


def test_a_path_that_is_no_regular_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, why in [(tmp_path / "pipe", "not a regular file"), (tmp_path / "none", "No such file")]:
        with pytest.raises(ConfigError, match=why):
            read(str(path))
    (tmp_path / "latin").write_bytes(b"a read t\xe9\n")
    (tmp_path / "latin").chmod(0o600)
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(str(tmp_path / "latin"))


def test_with_a_file_of_tokens_any_address_may_be_listened_on(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("a read t0ken\n")
    file.chmod(0o600)
    admin = AdminConfig(listen=":9000", tokens_file=str(file))
    assert admin_token(admin, {}) is None
    assert admin_token(admin, {"LB_ADMIN_TOKEN": "single"}) == "single"
    file.write_text("")
    with pytest.raises(ConfigError, match="there is no token in it"):
        admin_token(admin, {})


def test_each_scope_includes_those_before_it() -> None:
    reach = {scope: [other.value for other in Scope if scope.includes(other)] for scope in Scope}
    assert reach == {"read": ["read"], "drain": ["read", "drain"], "admin": ["read", "drain", "admin"]}


def test_a_file_that_is_too_large_is_refused_and_not_cut(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"a read {'t' * LONGEST}\n")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="is larger than 1048576 bytes"):
        read(str(file))
