"""The token of the whole admin side, and when there must be one."""

from pathlib import Path

import pytest

from lb.config.admin_token import admin_token
from lb.errors import ConfigError
from lb.settings.balancer_settings import AdminConfig
from tests.kit.files import secret


@pytest.mark.parametrize("listen", ["127.0.0.1:9000", "127.9.9.9:1", "[::1]:0", "localhost:9", "unix:/a"])
def test_on_loopback_no_token_is_needed(listen: str) -> None:
    assert admin_token(AdminConfig(listen=listen), {}) is None


@pytest.mark.parametrize(
    "listen", ["0.0.0.0:9000", ":9000", "[::]:9000", "10.0.0.1:9", "lb.test:9", "fd://3"]
)
def test_any_other_address_needs_a_token(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"^admin\.listen: .* set admin\.token_file or LB_ADMIN_TOKEN"):
        admin_token(AdminConfig(listen=listen), {})
    assert admin_token(AdminConfig(listen=listen), {"LB_ADMIN_TOKEN": "s3cret"}) == "s3cret"


def test_without_admin_no_token_is_needed() -> None:
    assert admin_token(AdminConfig(listen=":9000", enabled=False), {}) is None


def test_the_file_comes_before_the_environment(tmp_path: Path) -> None:
    secret(tmp_path / "token", "from-file\n")
    admin = AdminConfig(token_file=str(tmp_path / "token"))
    assert admin_token(admin, {"LB_ADMIN_TOKEN": "from-environment"}) == "from-file"
    assert "from-file" not in repr(admin)


@pytest.mark.parametrize("token", ["", " \n", "two words", "héllo", "a\nb"])
def test_a_token_that_no_client_could_send_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    secret(tmp_path / "token", token)
    for admin, environ in [
        (AdminConfig(token_file=str(tmp_path / "token")), {}),
        (AdminConfig(), {"LB_ADMIN_TOKEN": token}),
    ]:
        with pytest.raises(ConfigError, match="expected one word of visible ASCII") as caught:
            admin_token(admin, environ)
        assert not token.strip() or token not in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^admin\.token_file: /nowhere cannot be read"):
        admin_token(AdminConfig(token_file="/nowhere"), {})
