# ruff: noqa: E501 - the configurations are other people's languages
"""The configurations of HAProxy, nginx, Envoy, Caddy and Traefik, and the commands that start them with one.

Health checks are off, since they would be load. What a program keeps by default is left as it is, but for
bounds on connections: the backends close none, and a row with many backends is about choosing one of them.
"""

import sysconfig
from pathlib import Path

from tests.bench.setting import Place

SCRIPTS = Path(sysconfig.get_path("scripts"))

HAPROXY = """
global
  nbthread 1
  tune.pool-low-fd-ratio 80
  tune.pool-high-fd-ratio 90
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  {log}
frontend clients
  bind 127.0.0.1:{port} backlog 4096 {tls}
  {rule}
backend web
  balance roundrobin
  http-reuse always
{servers}
"""
NGINX = """
daemon off; user root; worker_processes 1; pid {root}/pid; error_log {root}/error.log; worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log {log}; keepalive_requests 1000000; client_max_body_size 0; server_names_hash_max_size 4096;
  client_body_temp_path {root}/b; proxy_temp_path {root}/p; fastcgi_temp_path {root}/f;
  uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  upstream web {{ {servers} keepalive {idle}; keepalive_requests 1000000; }}
{sites}
}}
"""
NGINX_SITE = "  server {{ listen 127.0.0.1:{port}{backlog} {tls}; {name} {locations} }}"
NGINX_LOCATION = "location {path} {{ proxy_pass http://web; }}"
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
          http_protocol_options: {{accept_http_10: true}}
          {log}
          route_config:
            virtual_hosts:
{sites}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
      {tls}
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
ENVOY_SERVER = (
    "        - endpoint: {{address: {{socket_address: {{address: {address}, port_value: {port}}}}}}}"
)
ENVOY_SITE = '            - {{name: "{host}", domains: ["{host}"], routes: [{routes}]}}'
ENVOY_ROUTE = '{{match: {{prefix: "{path}"}}, route: {{cluster: web, timeout: 0s}}}}'
ENVOY_LOG = """access_log:
          - name: envoy.access_loggers.file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {path}"""
ENVOY_TLS = """transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [http/1.1]
            tls_certificates: [{{certificate_chain: {{filename: {0}}}, private_key: {{filename: {1}}}}}]"""
TRAEFIK_STATIC = """
entryPoints: {{web: {{address: "127.0.0.1:{port}"}}}}
providers: {{file: {{filename: {root}/dynamic.yaml}}}}
log: {{level: ERROR}}
{log}
"""
TRAEFIK_DYNAMIC = """
http:
  routers:
{routers}
  services: {{web: {{loadBalancer: {{servers: [{servers}]}}}}}}
"""
TRAEFIK_TLS = """tls:
  stores: {{default: {{defaultCertificate: {{certFile: {0}, keyFile: {1}}}}}}}
"""
TRAEFIK_ROUTER = '    r{number}: {{rule: "{rule}", service: web, entryPoints: [web]{tls}}}'
CADDY = """
{{
  admin off
  auto_https off
}}
(web) {{
  reverse_proxy @web {servers} {{
    lb_policy round_robin
  }}
}}
{sites}
"""
CADDY_SITE = (
    "{scheme}://{host}:{port} {{\n  bind 127.0.0.1\n  {tls}\n  {log}\n  @web path {paths}\n  import web\n}}"
)


def haproxy(place: Place) -> list[str]:
    rule = "default_backend web"
    if place.setting.routes:
        prefixes = (host + path for host in place.setting.hosts for path in place.setting.paths)
        routes = place.write("routes.map", "".join(f"{prefix} web\n" for prefix in prefixes))
        rule = f"use_backend %[base,map_beg({routes})]"
    text = HAPROXY.format(
        port=place.port,
        rule=rule,
        tls=f"ssl crt {place.certificate()[0]} alpn http/1.1" if place.setting.tls else "",
        log="log stdout format raw local0\n  option httplog" if place.setting.logs else "",
        servers=place.servers("  server {address}-{port} {address}:{port}"),
    )
    return ["haproxy", "-db", "-f", place.write("haproxy.cfg", text)]


def nginx(place: Place) -> list[str]:
    locations = " ".join(NGINX_LOCATION.format(path=path) for path in place.setting.paths or ["/"])
    names = [f"server_name {host};" for host in place.setting.hosts] or [""]
    backlogs = [" backlog=4096", *[""] * (len(names) - 1)]  # it takes it once for each address
    tls = ""
    if place.setting.tls:
        chain, key = place.certificate()
        tls = f"ssl; ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {chain}; ssl_certificate_key {key}"
    sites = [
        NGINX_SITE.format(port=place.port, tls=tls, backlog=backlog, name=name, locations=locations)
        for name, backlog in zip(names, backlogs, strict=True)
    ]
    text = NGINX.format(
        root=place.root,
        log=place.log if place.setting.logs else "off",
        servers=place.servers("server {address}:{port};", " "),
        idle=max(64, place.setting.backends),
        sites="\n".join(sites),
    )
    return ["nginx", "-p", str(place.root), "-c", place.write("nginx.conf", text)]


def envoy(place: Place) -> list[str]:
    routes = ", ".join(ENVOY_ROUTE.format(path=path) for path in place.setting.paths or ["/"])
    sites = [ENVOY_SITE.format(host=host, routes=routes) for host in place.setting.hosts or ["*"]]
    text = ENVOY.format(
        port=place.port,
        log=ENVOY_LOG.format(path=place.log) if place.setting.logs else "",
        tls=ENVOY_TLS.format(*place.certificate()) if place.setting.tls else "",
        sites="\n".join(sites),
        servers=place.servers(ENVOY_SERVER),
    )
    options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "critical"]
    return [str(SCRIPTS / "envoy"), *options, "-c", place.write("envoy.yaml", text)]


def traefik(place: Place) -> list[str]:
    setting = place.setting
    rules = [f"Host(`{host}`) && PathPrefix(`{path}`)" for host in setting.hosts for path in setting.paths]
    routers = [
        TRAEFIK_ROUTER.format(number=number, rule=rule, tls=", tls: {}" if setting.tls else "")
        for number, rule in enumerate(rules or ["PathPrefix(`/`)"])
    ]
    servers = place.servers('{{url: "http://{address}:{port}"}}', ", ")
    tls = TRAEFIK_TLS.format(*place.certificate()) if setting.tls else ""
    routing = TRAEFIK_DYNAMIC.format(routers="\n".join(routers), servers=servers)
    place.write("dynamic.yaml", routing + tls)
    log = f"accessLog: {{filePath: {place.log}}}" if setting.logs else ""
    text = TRAEFIK_STATIC.format(port=place.port, root=place.root, log=log)
    return [str(SCRIPTS / "traefik"), f"--configFile={place.write('traefik.yaml', text)}"]


def caddy(place: Place) -> list[str]:
    paths = " ".join(f"{path}*" for path in place.setting.paths or [""])
    log = f"log {{\n output file {place.log}\n }}" if place.setting.logs else ""
    tls = "tls {} {}".format(*place.certificate()) if place.setting.tls else ""
    sites = [
        CADDY_SITE.format(scheme=place.scheme, tls=tls, host=host, port=place.port, log=log, paths=paths)
        for host in place.setting.hosts or [""]
    ]
    text = CADDY.format(servers=place.servers("{address}:{port}", " "), sites="\n".join(sites))
    config = place.write("Caddyfile", text)
    return [str(SCRIPTS / "caddy"), "run", "--adapter", "caddyfile", "--config", config]
