"""What the API shows in place of secrets: the values of probe fields that are named like secrets."""

import re

import msgspec

from lb.config.diff import Change
from lb.observe.audit_trail import HIDDEN
from lb.settings.pool_settings import PoolSettings

__all__ = ["HIDDEN", "hidden_change", "hidden_settings", "hidden_value"]

SECRET = re.compile(r"auth|cookie|key|passw|secret|token", re.IGNORECASE)
PROBE_FIELD = re.compile(r".*\.probe\.fields\.(?P<name>.+)")


def hidden_settings(settings: PoolSettings) -> PoolSettings:
    """The settings of a pool, with each secret value hidden."""
    if settings.probe is None:
        return settings
    fields = {name: HIDDEN if SECRET.search(name) else text for name, text in settings.probe.fields.items()}
    return msgspec.structs.replace(settings, probe=msgspec.structs.replace(settings.probe, fields=fields))


def hidden_value(key: str, value: object) -> object:
    """The value of this configuration key, hidden where it is a secret."""
    match = PROBE_FIELD.fullmatch(key)
    return HIDDEN if match and value is not None and SECRET.search(match["name"]) else value


def hidden_change(change: Change) -> Change:
    """The change of a configuration key, with its secret values hidden."""
    before, after = hidden_value(change.key, change.before), hidden_value(change.key, change.after)
    return Change(key=change.key, before=before, after=after)
