"""What the words of HAProxy, nginx, Caddy and Traefik are called here.

A table of words for each kind of table of ours, as the same word may mean several things: `port` is a part of
an address at the top of the file, and of a URL in a backend.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache

from lb.config.key_places import POOL_PATH, told

KINDS = (
    (POOL_PATH, "pools.x"),
    (re.compile(rf"{POOL_PATH.pattern}\.backends(\[\d+\])?"), "backends"),
    (re.compile(rf"{POOL_PATH.pattern}\.probe"), "probe"),
    (re.compile(r"routes(\[\d+\])?"), "routes"),
)

OURS: Mapping[str, Mapping[str, str]] = {
    "": {
        "listen": "bind port host address addr interface frontend frontends entrypoints http",
        "routes": "route router routers path prefix domain location locations rule rules match servername "
        "servernames vhost",
        "pools.{pool}.backends": "server servers backend upstream upstreams target targets node nodes url "
        "urls service services proxypass reverseproxy loadbalancer",
        "pools.{pool}.policy": "balance algorithm lbpolicy strategy method lbmethod loadbalancing",
        "pools.{pool}.probe": "healthcheck healthchecks health check checks option",
        "pools.{pool}.ejection": "maxfails failtimeout outlierdetection circuitbreaker passivehealth",
        "pools.{pool}.retry": "retries maxretries proxynextupstream redispatch",
        "pools.{pool}.sticky": "sticky session stickiness affinity",
        "timeouts": "timeout",
        "timeouts.connect": "connecttimeout proxyconnecttimeout",
        "timeouts.response_head": "readtimeout proxyreadtimeout servertimeout responsetimeout",
        "timeouts.send": "sendtimeout proxysendtimeout writetimeout",
        "timeouts.keepalive": "keepalive keepalivetimeout idletimeout",
        "timeouts.request_head": "clientheadertimeout headertimeout",
        "timeouts.body_idle": "clientbodytimeout clienttimeout",
        "timeouts.grace": "gracefultimeout shutdowntimeout graceperiod",
        "limits.request_body": "clientmaxbodysize maxbodysize bodylimit maxrequestbody",
        "limits.connections": "maxconn maxconnections workerconnections maxclients global",
        "workers": "workerprocesses processes threads nbthread cpus cores",
        "tls.certificates": "sslcertificate sslcertificatekey ssl https cert certs certificate certfile "
        "keyfile crt",
        "log_level": "log logs logging loglevel errorlog debug verbose",
        "access_log": "accesslog logformat logfile",
        "admin.listen": "stats dashboard api metrics management status",
        "admin.token_file": "token password secret apikey",
        "trusted_proxies": "trustproxy trustedproxy realip realipheader setrealipfrom forwardedallowips",
        "proxy_protocol_from": "acceptproxy proxyprotocol",
    },
    "timeouts": {
        "timeouts.connect": "connection dial dialing",
        "timeouts.handshake": "tls ssl tlshandshake",
        "timeouts.request_head": "header headers readheader httprequest clientheader",
        "timeouts.body_idle": "client clientbody",
        "timeouts.response_head": "server read backend upstream proxyread responseheader",
        "timeouts.send": "write sending proxysend",
        "timeouts.keepalive": "idle httpkeepalive clientidle",
        "timeouts.backend_idle": "idleconn serveridle upstreamidle",
        "timeouts.tunnel_idle": "websocket",
        "timeouts.grace": "shutdown graceful gracetimeout stop",
        "pools.{pool}.probe.timeout": "check probe healthcheck",
    },
    "limits": {
        "limits.request_head": "header headers headersize largeclientheaderbuffers",
        "limits.request_body": "clientmaxbodysize maxbodysize bodysize maxrequestbody upload",
        "limits.connections": "maxconn conn conns maxconnections maxclients clients",
        "limits.target": "url uri path",
    },
    "admin": {
        "admin.listen": "port host address addr bind",
        "admin.token_file": "token password secret apikey auth user username",
    },
    "tls": {
        "tls.certificates.chain": "cert crt chain certfile fullchain sslcertificate pem",
        "tls.certificates.key": "key keyfile privkey privatekey sslcertificatekey",
        "tls.versions": "minversion protocols sslprotocols version",
    },
    "pools.x": {
        "pools.{pool}.backends": "server servers backend upstream upstreams target targets node nodes member "
        "members endpoints urls address addresses proxypass",
        "pools.{pool}.policy": "balance algorithm lbpolicy strategy method lbmethod loadbalancing balancer",
        "pools.{pool}.probe": "healthcheck healthchecks health check checks option",
        "pools.{pool}.ejection.consecutive": "maxfails failures",
        "pools.{pool}.ejection.base": "failtimeout failduration",
        "pools.{pool}.ejection": "outlierdetection circuitbreaker passivehealth",
        "pools.{pool}.retry.attempts": "retries maxretries attempts tries proxynextupstream redispatch",
        "pools.{pool}.sticky": "session stickiness affinity",
        "limits.idle_per_backend": "keepalive",
        "pools.{pool}.max_in_flight": "maxconn maxconns maxconnections limit",
        "pools.{pool}.backends.weight": "weights",
        "routes": "path host hosts rule location servername match prefix domain domains",
        "timeouts": "timeout",
        "timeouts.connect": "connecttimeout proxyconnecttimeout",
        "timeouts.response_head": "readtimeout proxyreadtimeout responsetimeout",
    },
    "backends": {
        "pools.{pool}.backends.url": "host hostname address addr server port ip target uri upstream",
        "pools.{pool}.backends.id": "name",
        "pools.{pool}.backends.max_in_flight": "maxconn maxconns maxrequests",
        "pools.{pool}.backends.weight": "down disabled",
        "pools.{pool}.backends.labels": "tags meta metadata zone",
        "pools.{pool}.probe": "check healthcheck health",
        "pools.{pool}.probe.interval": "inter interval",
        "pools.{pool}.ejection.consecutive": "maxfails fall",
        "pools.{pool}.ejection.base": "failtimeout",
        "pools.{pool}.slow_start": "slowstart",
        "limits.idle_per_backend": "keepalive",
        "timeouts": "timeout",
    },
    "probe": {
        "pools.{pool}.probe.path": "url uri endpoint target",
        "pools.{pool}.probe.status": "expect expected expectedstatus expectstatus codes statuscode statuses",
        "pools.{pool}.probe.kind": "type protocol",
        "pools.{pool}.probe.interval": "every inter period delay",
        "pools.{pool}.probe.fall": "unhealthythreshold failures retries maxfails fails",
        "pools.{pool}.probe.rise": "healthythreshold successes passes",
        "pools.{pool}.probe.fields": "headers header",
        "pools.{pool}.probe.host": "hostname",
    },
    "routes": {
        "routes.pool": "backend backends service upstream target proxypass to server",
        "routes.path": "prefix location url uri match paths pathprefix",
        "routes.host": "hosts domain domains hostname hostnames servername rule",
    },
}
"""For each kind of table the keys of ours, each with the words that others have for it."""
VALUES: Mapping[str, str] = {"down": ": weight = 0", "disabled": ": weight = 0"}
"""What is said further of words whose value is another one here."""
FRONT = ("listen", "bind", "server_name")
FRONTED = "; here `listen` says where, and [[routes]] which pool gets what"
"""What others say in a table for clients, such as `server` of nginx, and how that is done here."""
ABSENT: Mapping[str, str] = {
    "there is none: a route only chooses a pool, and the request goes on as it came": "rewrite strip "
    "stripprefix redirect return middlewares headers addheader setheader responseheaders requestheaders",
    "there is none: a server behind or in front of this one has to do it": "gzip compress compression brotli "
    "cache proxycache ratelimit limitreq auth basicauth cors root static fileserver",
    "what starts the program does this, such as systemd": "user group daemon pid pidfile chroot",
    "there is none: a key that is left out has its default (lb docs config), and what holds for all pools "
    "stands in [timeouts] and [limits]": "defaults default",
    "there is one file; flags and --set stand above it": "include includes import",
}
"""What others have and this one has not."""


def ours(word: str, table: str, pool: str = "", holds: Iterable[str] = ()) -> str:
    """The end of a sentence that says what a word of others is called here; empty where it is none.

    `table` is the path of the table in which it stands, empty for the top of the file. `pool` is the name of
    the pool that is meant where that is not its table's; `holds` are the keys of what stands at the word.
    """
    if not table and any(key in FRONT for key in holds):
        return FRONTED
    kind = next((kind for form, kind in KINDS if form.fullmatch(table)), table)
    plain = re.sub(r"[_-]", "", word).lower()
    if (key := _ours().get(kind, {}).get(plain)) is not None:
        return f"; here it is {told(key, table, pool)}{VALUES.get(plain, '')}"
    sentence = _absent().get(plain)
    return f"; {sentence}" if sentence else ""


@cache
def _ours() -> Mapping[str, Mapping[str, str]]:
    return {kind: _turned(keys) for kind, keys in OURS.items()}


@cache
def _absent() -> Mapping[str, str]:
    return _turned(ABSENT)


def _turned(table: Mapping[str, str]) -> Mapping[str, str]:
    return {word: said for said, words in table.items() for word in words.split()}
