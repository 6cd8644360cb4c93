"""Collects what is to be served: what the files hold, which name gets what, and what is wrong.

What is served already is used again: a certificate is judged anew where its files hold something else, and a
context is made where what it shows is another one. So a change costs little more than what has changed.

All of it can be used, or nothing is drafted: so it is where somebody has asked for all. Where files change by
themselves a draft `keeps_old`: a certificate that cannot be used any more stays as it is served. It is
*refused*, and those of other files come into use.
"""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lb.errors import ConfigError
from lb.settings.tls_settings import TlsSettings
from lb.tls.certificate import (
    Authorities,
    KeyType,
    Loaded,
    Read,
    covers,
    load_authorities,
    load_certificate,
)
from lb.tls.contexts import Need, server_context, show
from lb.tls.pem_files import PemFile
from lb.tls.table import NOTHING, ClientPolicy, Policies, Served, Table

Pair = tuple[str, str]
"""The files of a certificate: its chain's and its key's."""


class Recipe(NamedTuple):
    """All that a context is made of but the content of its certificates, for which it can be kept."""

    files: tuple[tuple[str, str, KeyType], ...]
    policy: ClientPolicy | None
    versions: tuple[str, ...]


class OfAdmin(NamedTuple):
    """Operators come over TLS too: to the same names, and with certificates by an authority of their own.

    They may show none, as tokens do as well; without `client_ca` they are asked for none.
    """

    client_ca: str | None


class Reload(NamedTuple):
    """The context of `old` is to take other certificates; `new` has one of its own, which has taken them."""

    old: Served
    new: Served
    pems: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a table is made of. The next one uses again what is the same."""

    loaded: Mapping[Pair, Loaded] = field(default_factory=dict)
    authorities: Mapping[str, Authorities] = field(default_factory=dict)
    made: Mapping[Recipe, Served] = field(default_factory=dict)

    def files(self) -> dict[str, PemFile]:
        """All files, in the order of the settings."""
        files = [file for each in self.loaded.values() for file in each.files]
        return {each.path: each for each in (*files, *(each.file for each in self.authorities.values()))}


class Draft:
    """`read` and then `make` it; `there` is what is served.

    `warnings` are about what stands in each other's way; `refused` are sentences about what stays as it is,
    and `refused_files` their files.
    """

    def __init__(
        self,
        settings: TlsSettings,
        read: Read,
        protocols: Sequence[str],
        there: Parts,
        admin: OfAdmin | None,
        *,
        keeps_old: bool,
    ) -> None:
        self.loaded: dict[Pair, Loaded] = {}
        self.authorities: dict[str, Authorities] = {}
        self.warnings: list[str] = []
        self.refused: list[str] = []
        self.refused_files: set[str] = set()
        self._there = there
        self._keeps_old = keeps_old
        self._settings = settings
        self._read = read
        self._protocols = protocols
        self._mistakes: list[str] = []
        self._keys: dict[Pair, str] = {}
        self._policies = Policies({})
        self._groups: dict[str, dict[KeyType, Loaded]] = {}
        self._recipes: dict[str, Recipe] = {}
        self._default: dict[ClientPolicy | None, Recipe] = {}
        self._admin = admin
        self._admin_policy: ClientPolicy | None = None
        self._admin_recipes: dict[str, Recipe] = {}

    def read(self) -> None:
        """Read every file and decide which name gets what; ConfigError with every mistake."""
        for index, files in enumerate(self._settings.certificates):
            self._read_certificate(f"tls.certificates[{index}]", files.chain, files.key)
        self._read_policies()
        self._check()
        self._keep_the_default()
        for loaded in self.loaded.values():
            for name in loaded.certificate.names:
                self._add_name(name, loaded)
        self._recipes = {name: self._recipe(name, self._policies.of(name)) for name in self._groups}
        self._add_hosts()
        if self._admin is not None:
            self._admin_recipes = {name: self._recipe(name, self._admin_policy) for name in self._groups}
        self._add_default()
        self._check()

    def _check(self) -> None:
        if self._mistakes:
            raise ConfigError("\n  ".join(self._mistakes), self._mistakes)

    def _refuse(self, sentence: str, files: Sequence[str]) -> None:
        self.refused.append(sentence)
        self.refused_files.update(files)

    def _read_certificate(self, key: str, chain: str, own_key: str | None) -> None:
        files = chain, own_key or chain
        if files in self._keys:
            self._mistakes.append(f"{key}.chain: {chain} is that of {self._keys[files]} too")
            return
        self._keys[files], there = key, self._there.loaded.get(files)
        try:
            loaded = load_certificate(chain, own_key, self._read, there)
            if loaded is not there:
                self._judge(loaded)
        except ConfigError as exc:
            if not self._keeps_old or there is None:
                self._mistakes.append(f"{key}.{exc}")
                return
            self._refuse(f"{key}.{exc}", files)
            loaded = there
        self.loaded[files] = loaded

    def _judge(self, loaded: Loaded) -> None:
        """ConfigError where it cannot be served. If none may stay OpenSSL judges when a context is made."""
        chain = loaded.certificate.chain_file
        if not loaded.certificate.names:
            raise ConfigError(
                f"chain: {chain}: the certificate has no names; clients look at its subjectAltName only"
            )
        if self._keeps_old:
            try:
                show(server_context(self._settings.spoken), loaded.pem)
            except ssl.SSLError as exc:
                raise ConfigError(_not_taken(f"chain: {chain}", exc)) from exc
            except OSError as exc:  # we lack descriptors: that is no fault of the file
                self._mistakes.append(f"{chain}: {exc}")

    def _add_name(self, name: str, loaded: Loaded) -> None:
        """Where two certificates with a key of one type have a name, the one that ends last is served."""
        group, kind = self._groups.setdefault(name, {}), loaded.certificate.key_type
        other = group.get(kind)
        if other is None:
            group[kind] = loaded
            return
        last = max(other, loaded, key=lambda each: each.certificate.not_after)
        group[kind] = last
        files = f"{other.certificate.chain_file} and {loaded.certificate.chain_file}"
        self.warnings.append(
            f"{files} both have {name}; {last.certificate.chain_file} is served: it ends last"
        )

    def _read_policies(self) -> None:
        hosts: dict[str, ClientPolicy] = {}
        everywhere: ClientPolicy | None = None
        for index, clients in enumerate(self._settings.clients):
            policy = self._policy(f"tls.clients[{index}].", clients.ca, clients.need, tell=clients.tell)
            if policy is not None:
                hosts |= dict.fromkeys(clients.hosts, policy)
                everywhere = everywhere if clients.hosts else policy
        self._policies = Policies(hosts, everywhere)
        if self._admin is not None and self._admin.client_ca is not None:
            self._admin_policy = self._policy("admin.client_", self._admin.client_ca, "offered", tell=False)

    def _policy(self, key: str, ca: str, need: Need, *, tell: bool) -> ClientPolicy | None:
        """A policy with the authorities in this file; None, and a mistake, where it cannot be used."""
        authorities = self._read_authorities(key, ca)
        if authorities is None:
            return None
        self.authorities[ca] = authorities
        return ClientPolicy(ca, authorities.pem, need, tell)

    def _read_authorities(self, key: str, ca: str) -> Authorities | None:
        there = self._there.authorities.get(ca)
        try:
            return load_authorities(ca, self._read, there)
        except ConfigError as exc:
            if not self._keeps_old or there is None:
                self._mistakes.append(f"{key}{exc}")
                return None
            self._refuse(f"{key}{exc}", [ca])
            return there

    def _keep_the_default(self) -> None:
        """A certificate stays as it is served if the next one does not have the name that is the default."""
        default = self._settings.default
        if not self._keeps_old or default is None or self._settings.is_ordered(default):
            return
        if any(_covers(each, default) for each in self.loaded.values()):
            return
        for files in self.loaded:
            there = self._there.loaded.get(files)
            if there is not None and _covers(there, default):
                self._refuse(
                    f"{self._keys[files]}.chain: {files[0]} has no longer tls.default, {default}", files
                )
                self.loaded[files] = there

    def _recipe(self, name: str, policy: ClientPolicy | None) -> Recipe:
        """The recipe of what a name that stands in a certificate gets."""
        certificates = [each.certificate for each in self._groups[name].values()]
        files = tuple((each.chain_file, each.key_file, each.key_type) for each in certificates)
        return Recipe(files, policy, self._settings.spoken)

    def _covering(self, host: str) -> str | None:
        """The name in a certificate that a host is served by: the same, or with `*` for its first label."""
        above = f"*.{host.partition('.')[2]}"
        return next((name for name in (host, above) if name in self._groups), None)

    def _add_hosts(self) -> None:
        """A host with a policy of its own gets a context of its own, also from a `*.` certificate."""
        for host in self._policies.hosts():
            name = self._covering(host)
            if name is not None:
                self._recipes[host] = self._recipe(name, self._policies.of(host))
            elif not host.startswith("*.") and not self._settings.is_ordered(host):
                self.warnings.append(f"tls.clients: no certificate has {host}, so nobody gets there")

    def _add_default(self) -> None:
        default = self._settings.default
        if default is None:
            return
        name = self._covering(default)
        if name is None:
            if not self._settings.is_ordered(default):
                self._mistakes.append(f"tls.default: no certificate has {default}")
            return
        policies = [*self._policies.all(), *([] if self._admin is None else [self._admin_policy])]
        self._default = {policy: self._recipe(name, policy) for policy in policies}

    # -- contexts --------------------------------------------------------------------------------------

    def make(self, live: Mapping[Recipe, Served]) -> tuple[Parts, list[Reload]]:
        """A context for each recipe: the live one where it shows what it should, otherwise a new one."""
        made: dict[Recipe, Served] = {}
        reloads: list[Reload] = []
        wanted = (*self._recipes.values(), *self._default.values(), *self._admin_recipes.values())
        for recipe in dict.fromkeys(wanted):
            there = live.get(recipe)
            if there is not None and self._is_same(recipe):
                made[recipe] = there
                continue
            loaded = [self.loaded[chain, key] for chain, key, _ in recipe.files]
            certificates = tuple(each.certificate for each in loaded)
            if there is not None and self._shows_the_same(recipe):
                made[recipe] = Served(there.context, certificates, recipe.policy)
                continue
            made[recipe] = Served(self._new_context(recipe), certificates, recipe.policy)
            if there is not None:
                reloads.append(Reload(there, made[recipe], tuple(each.pem for each in loaded)))
        self._check()
        return Parts(self.loaded, self.authorities, made), reloads

    def _is_same(self, recipe: Recipe) -> bool:
        return all(self._there.loaded[files[:2]] is self.loaded[files[:2]] for files in recipe.files)

    def _shows_the_same(self, recipe: Recipe) -> bool:
        return all(self._there.loaded[files[:2]].pem == self.loaded[files[:2]].pem for files in recipe.files)

    def _new_context(self, recipe: Recipe) -> ssl.SSLContext:
        policy = recipe.policy
        context = server_context(
            recipe.versions,
            self._protocols,
            policy.authorities if policy else None,
            policy.need if policy else "always",
        )
        for chain, key, _ in recipe.files:
            try:
                show(context, self.loaded[chain, key].pem)
            except OSError as exc:  # ssl.SSLError is one, and a lack of descriptors
                self._mistakes.append(_not_taken(f"{self._keys[chain, key]}.chain: {chain}", exc))
        return context

    def table(self, made: Mapping[Recipe, Served]) -> Table:
        names = {name: made[recipe] for name, recipe in self._recipes.items()}
        default = {policy: made[recipe] for policy, recipe in self._default.items()}
        return Table(names, self._policies, default)

    def admin_table(self, made: Mapping[Recipe, Served]) -> Table:
        if self._admin is None:
            return NOTHING
        names = {name: made[recipe] for name, recipe in self._admin_recipes.items()}
        policy = self._admin_policy
        default = {policy: made[self._default[policy]]} if self._default else {}
        return Table(names, Policies({}, policy), default)


def _not_taken(where: str, error: OSError) -> str:
    return f"{where}: OpenSSL does not take it: {getattr(error, 'reason', None) or error}"


def _covers(loaded: Loaded, name: str) -> bool:
    return any(covers(each, name) for each in loaded.certificate.names)
