# ruff: noqa: E501 - the configurations are other people's languages
"""The programs that are measured side by side, each pinned to core 0 in front of the same three backends."""

import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
PROGRAM_CORE, LOAD_CORE = "0", "1"
START_SECONDS = 15.0

HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  {log}
frontend clients
  bind 127.0.0.1:{port} backlog 4096
  default_backend web
backend web
  balance roundrobin
  http-reuse always
{servers}
"""
NGINX = """
daemon off; user root; worker_processes 1; pid {root}/pid; error_log {root}/error.log; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log {log}; keepalive_requests 1000000; client_max_body_size 0;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  upstream web {{ {servers} keepalive 64; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  }} }}
}}
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          {log}
          route_config:
            virtual_hosts:
            - {{name: web, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: web, timeout: 0s}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:
  - name: web
    lb_policy: ROUND_ROBIN
    circuit_breakers: {{thresholds: [{{max_connections: 20000, max_pending_requests: 20000, max_requests: 20000}}]}}
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints:
{servers}
"""
ENVOY_LOG = """access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {root}/access.log"""
TRAEFIK_STATIC = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {root}/dynamic.yaml}}}}
log: {{level: ERROR}}
{log}
"""
TRAEFIK_DYNAMIC = """
http:
  routers: {{all: {{rule: "PathPrefix(`/`)", service: web, entryPoints: [web]}}}}
  services: {{web: {{loadBalancer: {{servers: [{servers}]}}}}}}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
http://:{port} {{
  bind 127.0.0.1
  {log}
  reverse_proxy {servers} {{
    lb_policy round_robin
  }}
}}
"""


@dataclass(frozen=True)
class Setting:
    """Where a program listens, whom it balances, where its files go, and whether it logs each request."""

    port: int
    backends: list[int]
    root: Path
    logs: bool

    def write(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)

    def servers(self, form: str, join: str = "\n") -> str:
        return join.join(form.format(port=port) for port in self.backends)


def ours(s: Setting) -> list[str]:
    return ours_of([sys.executable, "-m", "lb"], s)


def before(checkout: Path) -> Callable[[Setting], list[str]]:
    """Another checkout of this project, in its own virtual environment: what an A/B run compares with."""
    return partial(ours_of, [str(checkout / ".venv/bin/lb")])


def ours_of(command: list[str], s: Setting) -> list[str]:
    backends = [f"--backend=http://127.0.0.1:{port}" for port in s.backends]
    log = f"--access-log={'json' if s.logs else 'off'}"
    return [
        *command,
        "run",
        f"--listen=127.0.0.1:{s.port}",
        "--admin=127.0.0.1:0",
        log,
        *backends,
    ]


def haproxy(s: Setting) -> list[str]:
    log = "log stdout format raw local0\n  option httplog" if s.logs else ""
    servers = s.servers("  server s{port} 127.0.0.1:{port}")
    return [
        "haproxy",
        "-db",
        "-f",
        s.write("haproxy.cfg", HAPROXY.format(port=s.port, servers=servers, log=log)),
    ]


def nginx(s: Setting) -> list[str]:
    servers = s.servers("server 127.0.0.1:{port};", " ")
    log = f"{s.root}/access.log" if s.logs else "off"
    text = NGINX.format(port=s.port, servers=servers, root=s.root, log=log)
    return ["nginx", "-p", str(s.root), "-c", s.write("nginx.conf", text)]


def envoy(s: Setting) -> list[str]:
    form = "        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"
    log = ENVOY_LOG.format(root=s.root) if s.logs else ""
    text = ENVOY.format(port=s.port, servers=s.servers(form), log=log)
    base = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "critical"]
    return [str(SCRIPTS / "envoy"), *base, "-c", s.write("envoy.yaml", text)]


def traefik(s: Setting) -> list[str]:
    servers = s.servers('{{url: "http://127.0.0.1:{port}"}}', ", ")
    s.write("dynamic.yaml", TRAEFIK_DYNAMIC.format(servers=servers))
    log = f"accessLog: {{filePath: {s.root}/access.log}}" if s.logs else ""
    text = TRAEFIK_STATIC.format(port=s.port, root=s.root, log=log)
    return [str(SCRIPTS / "traefik"), f"--configFile={s.write('traefik.yaml', text)}"]


def caddy(s: Setting) -> list[str]:
    log = f"log {{\n output file {s.root}/access.log\n }}" if s.logs else ""
    text = CADDY.format(port=s.port, servers=s.servers("127.0.0.1:{port}", " "), log=log)
    return [str(SCRIPTS / "caddy"), "run", "--adapter", "caddyfile", "--config", s.write("Caddyfile", text)]


def ancestor(s: Setting) -> list[str]:
    binary = s.root / "ancestor"
    subprocess.run(["g++", "-O2", "-pthread", "-o", binary, HERE / "ancestor.cpp"], check=True)
    return [str(binary), str(s.port), *map(str, s.backends)]


def textbook(s: Setting) -> list[str]:
    return [sys.executable, str(HERE / "textbook.py"), str(s.port), *map(str, s.backends)]


PROGRAMS: dict[str, Callable[[Setting], list[str]]] = {
    "trio-lb": ours,
    "HAProxy": haproxy,
    "nginx": nginx,
    "Envoy": envoy,
    "Caddy": caddy,
    "Traefik": traefik,
    "ancestor": ancestor,
    "textbook": textbook,
}
VERSIONS = {
    "HAProxy": ["haproxy", "-v"],
    "nginx": ["nginx", "-v"],
    "Envoy": [str(SCRIPTS / "envoy"), "--version"],
    "Caddy": [str(SCRIPTS / "caddy"), "version"],
    "Traefik": [str(SCRIPTS / "traefik"), "version"],
}


def installed() -> list[str]:
    """The programs that this machine has; those that it has not are named by the caller, not measured."""
    needs = {name: command[0] for name, command in VERSIONS.items()} | {"ancestor": "g++"}
    return [name for name in PROGRAMS if name not in needs or shutil.which(needs[name])]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def started(command: list[str], port: int, core: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run it on one core until the block ends; it accepts connections when the block begins."""
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(["taskset", "-c", core, *command], **quiet)  # type: ignore[call-overload]
    try:
        _wait_for(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + START_SECONDS
    while time.monotonic() < limit and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)  # noqa: TID251 - a script, and another process to wait for
    raise RuntimeError(f"{process.args!r} does not listen on {port}")
