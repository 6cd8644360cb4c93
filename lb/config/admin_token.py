"""The token that may do everything on the admin side: where it is read from, and when there must be one."""

import os
from codecs import BOM_UTF8
from collections.abc import Mapping

from lb.config import secret_file, tokens
from lb.errors import ConfigError
from lb.settings.admin_defaults import TOKEN_VARIABLE
from lb.settings.balancer_settings import AdminConfig
from lb.settings.listen_address import is_loopback, parse_address


def admin_token(admin: AdminConfig, environ: Mapping[str, str] = os.environ) -> str | None:
    """The token in `token_file`, or else in LB_ADMIN_TOKEN; None where neither is set. It blocks.

    The tokens of `tokens_file` are read too, so that a mistake in them shows at once. ConfigError where a
    file cannot be read or is open to others, where a client could not send the token in a field, or where
    other machines can reach the admin address and there is no token at all. No message shows a token.
    """
    others = () if admin.tokens_file is None else tokens.read(admin.tokens_file)
    owner = next((each for each in others if each.owner), None)
    if owner is not None and admin.client_ca is None:
        raise ConfigError(
            f"admin.tokens_file: {admin.tokens_file}: {owner.name} is to show a certificate, "
            "and there is no admin.client_ca"
        )
    if admin.token_file is not None:
        where = f"admin.token_file: {admin.token_file}"
        token = secret_file.read(admin.token_file, where).removeprefix(BOM_UTF8)
        return _sendable(token.decode("ascii", "replace").strip(), where)
    if TOKEN_VARIABLE in environ:
        return _sendable(environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE)
    if admin.enabled and not others and not is_loopback(parse_address(admin.listen)):
        raise ConfigError(
            f"admin.listen: {admin.listen} can be reached from other machines, and there is no token; "
            f"set admin.token_file or {TOKEN_VARIABLE}, or admin.tokens_file, or listen on 127.0.0.1"
        )
    return None


def _sendable(token: str, where: str) -> str:
    if not secret_file.is_sendable(token):
        raise ConfigError(f"{where}: expected one word of visible ASCII characters")
    return token
