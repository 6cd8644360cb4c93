"""What settings of a pool name that only the configuration may name: code to import, and files to open."""

from collections.abc import Iterable, Iterator, Mapping

from lb.settings.pool_settings import POLICIES, SYSTEM, PoolSettings


def files_of(settings: PoolSettings) -> Mapping[str, str | None]:
    """The files that these settings name, by the JSON pointers of their keys."""
    tls = settings.tls
    return {
        "#/sticky/secret_file": None if settings.sticky is None else settings.sticky.secret_file,
        "#/tls/ca": None if tls.ca == SYSTEM else tls.ca,
        "#/tls/chain": tls.chain,
        "#/tls/key": tls.key,
    }


def known_policies(configured: Iterable[PoolSettings]) -> set[str]:
    """Our own policies, and those that the configuration names."""
    return {*POLICIES, *(pool.policy for pool in configured)}


def unknown_files(wanted: PoolSettings, configured: Iterable[PoolSettings]) -> Iterator[str]:
    """The pointers of files that the configuration does not name under the same key."""
    known = [files_of(settings) for settings in configured]
    for pointer, path in files_of(wanted).items():
        if path not in {None, *(files[pointer] for files in known)}:
            yield pointer
