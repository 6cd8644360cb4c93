"""The one nginx that plays all backends: every address of 127/8, on three ports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import LOAD_CORE, free_port, started

PORTS = 3
EVERYWHERE = "0.0.0.0"
MOST_CONNECTIONS = 19_000
CONNECTIONS_PER_BACKEND = 12
"""A few programs that run at once, and each keeps idle connections."""
CONFIGURATION = """
daemon off; user root; worker_processes {workers}; pid {root}/pid; error_log {root}/error.log;
worker_rlimit_nofile 20000; events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 600; client_max_body_size 0; sendfile on;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s; gzip on; gzip_proxied any; gzip_comp_level 1;
  types {{ text/css css; }} gzip_types text/css;
  server {{ {listen} root {root}; location /hello {{ return 200 "hello world\\n"; }} }}
}}
"""
SIZES = {"16k": 16 << 10, "1m": 1 << 20, "1g": 1 << 30}
STYLES = "".join(f".c{n} {{ color: #{n:06x}; }}\n" for n in range(200))


@contextmanager
def backends(root: Path, count: int = PORTS) -> Iterator[list[int]]:
    """Its ports, while it is up, with workers for so many backends and files for every load."""
    ports = [free_port(EVERYWHERE) for _ in range(PORTS)]
    for name, size in SIZES.items():
        with (root / name).open("wb") as file:
            file.truncate(size)
    (root / "page.css").write_text(STYLES)
    config = root / "backend.conf"
    config.write_text(
        CONFIGURATION.format(
            root=root,
            workers=1 + count * CONNECTIONS_PER_BACKEND // MOST_CONNECTIONS,
            connections=MOST_CONNECTIONS,
            listen=" ".join(f"listen {EVERYWHERE}:{port} backlog=4096;" for port in ports),
        )
    )
    command = ["nginx", "-p", str(root), "-c", str(config)]
    with started(command, ports[0], LOAD_CORE, root / "backend.out"):
        yield ports
