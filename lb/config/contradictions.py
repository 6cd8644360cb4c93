"""Mistakes between settings that are each right: names that are missing or there twice, TLS without files."""

from collections.abc import Iterator

from lb.config.decode import join
from lb.config.own_addresses import clashes, loops
from lb.config.spoken_keys import spoken
from lb.settings.backend_spec import ID, BackendSpec, default_id, parse_url
from lb.settings.balancer_settings import DEFAULT_POOL, Config, speaks_tls
from lb.settings.listen_address import parse_address
from lb.suggestions import did_you_mean


def contradictions(config: Config) -> Iterator[str]:
    """Mistakes between settings that are each right. An item that is None is in the Reader's mistakes."""
    if not config.listen:
        yield "listen: expected one address or more"
    yield from clashes(config)
    yield from loops(config)
    yield from _of_tls(config)
    if config.cluster is not None and config.state is not None:
        yield "state: in a cluster etcd keeps the changes, and cluster.cache what is known of them"
    for name in config.pools:
        if not ID.fullmatch(name):
            yield f"{join('pools', name)}: a pool's name may hold letters, digits and . _ ~ - only"
    if config.demo and DEFAULT_POOL in config.pools and config.pools[DEFAULT_POOL].backends:
        yield f"demo: the demo brings its own backends, and pools.{DEFAULT_POOL} has some already"
    names = dict.fromkeys(pool_names(config))
    for index, route in enumerate(config.routes):
        if route is not None and route.pool not in names:
            yield f"routes[{index}].pool: there is no pool {route.pool!r}{did_you_mean(route.pool, names)}"
        if route is not None and {*";\\"} & {*route.path} and config.path_policy != "exact":
            yield f'routes[{index}].path: `;` and `\\` need path_policy = "exact", as servers differ on them'
    yield from _duplicates(config)
    yield from _namesakes(config)


def _of_tls(config: Config) -> Iterator[str]:
    addresses = {text: parse_address(text) for text in config.listen if text is not None}
    secure = [text for text, address in addresses.items() if address.is_tls]
    yield from _of_admin(config)
    if secure and not config.tls.certificates and config.tls.acme is None:
        yield f"tls.certificates: {secure[0]} needs one, and there is neither one nor [tls.acme]"
    proxied = [text for text, address in addresses.items() if address.takes_proxy_header]
    if proxied and not config.proxy_protocol_from:
        yield f"proxy_protocol_from: {proxied[0]} needs networks that send a PROXY header, and there is none"
    places: dict[str, str] = {}
    for index, clients in enumerate(config.tls.clients):
        for host in () if clients is None else clients.hosts or ("",):
            place = f"tls.clients[{index}]"
            if (first := places.setdefault(host, place)) != place:
                yield f"{place}.hosts: {host or 'every other host'} is in {spoken(first)} too"


def _of_admin(config: Config) -> Iterator[str]:
    admin = config.admin
    if speaks_tls(admin) and not config.tls.certificates and not _orders(config):
        yield f"tls.certificates: {admin.listen} needs one, and there is none"
    if admin.client_ca is None:
        return
    if not speaks_tls(admin):
        yield "admin.client_ca: clients show certificates where admin.listen begins with https://"
    if admin.tokens_file is None:
        yield "admin.client_ca: admin.tokens_file has to say what each certificate may do"


def _orders(config: Config) -> bool:
    """Whether certificates are ordered, which only the listeners of the traffic can prove to need."""
    return config.tls.acme is not None and any(
        text is not None and parse_address(text).is_tls for text in config.listen
    )


def _duplicates(config: Config) -> Iterator[str]:
    places: dict[str, str] = {}
    for name, pool in config.pools.items():
        for index, backend in enumerate(pool.backends if pool else ()):
            if backend is None:
                continue
            place = f"{join('pools', name)}.backends[{index}]"
            if (first := places.setdefault(backend.id, place)) == place:
                continue
            if _has_own_id(backend):
                yield f"{place}.id: {backend.id!r} is the id of {spoken(first)} too"
            else:
                yield f"{place}.url: {spoken(first)} has it too; give one of them an `id`, or leave it out"


def _has_own_id(backend: BackendSpec) -> bool:
    """Whether its id says something else than its URL."""
    return backend.id != default_id(*parse_url(backend.url))


def _namesakes(config: Config) -> Iterator[str]:
    """Sources of one pool that are called the same."""
    for name, pool in config.pools.items():
        places: dict[str, str] = {}
        for index, source in enumerate(pool.discover if pool else ()):
            if source is not None:
                place = f"{join('pools', name)}.discover[{index}]"
                if (first := places.setdefault(source.name, place)) != place:
                    yield f"{place}.name: {source.name!r} is the name of {spoken(first)} too"


def pool_names(config: Config) -> list[str]:
    """The pools as given, and `default` unless no request can reach it."""
    is_default_needed = config.demo or not any(route and route.takes_everything for route in config.routes)
    names = list(config.pools)
    return names if DEFAULT_POOL in names or not is_default_needed else [*names, DEFAULT_POOL]
