"""What each worker may have of what the configuration allows the whole balancer.

Connections are placed evenly, so each worker gets an equal part of the limits that count them. A part is
rounded up, so that none is nothing.
"""

import msgspec

from lb.settings.balancer_settings import Config, Limits, LogLevel


def for_worker(config: Config, workers: int, log_level: LogLevel) -> Config:
    """The Config of one worker. Its pools and backends are told apart from it."""
    limits = _limits(config.limits, workers)
    return msgspec.structs.replace(config, limits=limits, pools={}, log_level=log_level)


def _limits(limits: Limits, workers: int) -> Limits:
    return msgspec.structs.replace(
        limits,
        held=-(-limits.held // workers),
        connections=_part(limits.connections, workers),
        connections_per_address=_part(limits.connections_per_address, workers),
        connections_per_certificate=_part(limits.connections_per_certificate, workers),
    )


def _part(limit: int | None, workers: int) -> int | None:
    return None if limit is None else -(-limit // workers)
