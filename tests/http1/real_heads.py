# ruff: noqa: E501 - a head is as long as it is
"""Request heads as clients and proxies really send them: fields, spellings and order are theirs."""

from collections.abc import Sequence

HTML = b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CHROME = (
    b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
FIREFOX = b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
H2C = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
JAVA_H2C = (
    b"Connection: Upgrade, HTTP2-Settings",
    b"Host: a.test:8080",
    b"HTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgAGAAA",
    b"Upgrade: h2c",
    b"User-Agent: Java-http-client/21.0.2",
)
CURL = (b"User-Agent: curl/8.5.0", b"Accept: */*")

CLIENTS: dict[str, tuple[bytes, ...]] = {
    "Chrome": (
        b"GET /app/main.js?v=17 HTTP/1.1", b"Host: www.example.com", b"Connection: keep-alive",
        b"Cache-Control: max-age=0",
        b'sec-ch-ua: "Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
        b"sec-ch-ua-mobile: ?0", b'sec-ch-ua-platform: "Linux"', b"Upgrade-Insecure-Requests: 1",
        b"User-Agent: " + CHROME, b"Accept: " + HTML, b"Sec-Fetch-Site: same-origin",
        b"Sec-Fetch-Mode: navigate", b"Sec-Fetch-User: ?1", b"Sec-Fetch-Dest: document",
        b"Referer: http://www.example.com/", b"Accept-Encoding: gzip, deflate",
        b"Accept-Language: en-GB,en;q=0.9", b"Cookie: session=0123456789abcdef; theme=dark",
        b'If-None-Match: W/"5e-18c"',
    ),
    "Chrome, a form": (
        b"POST /login HTTP/1.1", b"Host: www.example.com", b"Connection: keep-alive", b"Content-Length: 27",
        b"Origin: http://www.example.com", b"Content-Type: application/x-www-form-urlencoded",
        b"User-Agent: " + CHROME, b"Accept: " + HTML,
    ),
    "Chrome, a WebSocket": (
        b"GET /chat HTTP/1.1", b"Host: www.example.com", b"Connection: Upgrade", b"Pragma: no-cache",
        b"Upgrade: websocket", b"Origin: http://www.example.com", b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    ),
    "Chrome, by a proxy": (
        b"GET http://www.example.com/a HTTP/1.1", b"Host: www.example.com", b"Proxy-Connection: keep-alive",
        b"User-Agent: " + CHROME,
    ),
    "Firefox": (
        b"GET / HTTP/1.1", b"Host: www.example.com:8080", b"User-Agent: " + FIREFOX, b"Accept: " + HTML,
        b"Accept-Language: de,en-US;q=0.7,en;q=0.3", b"Accept-Encoding: gzip, deflate",
        b"Connection: keep-alive", b"Upgrade-Insecure-Requests: 1", b"DNT: 1", b"Sec-GPC: 1", b"Priority: u=0, i",
    ),
    "Firefox, a WebSocket": (
        b"GET /chat HTTP/1.1", b"Host: www.example.com", b"User-Agent: " + FIREFOX,
        b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Connection: keep-alive, Upgrade", b"Upgrade: websocket",
    ),
    "Safari": (
        b"GET /favicon.ico HTTP/1.1", b"Host: www.example.com", b"Connection: keep-alive", b"Accept: */*",
        b"User-Agent: Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605",
        b"Accept-Language: en-GB,en;q=0.9", b"Accept-Encoding: gzip, deflate",
    ),
    "curl": (b"GET /a HTTP/1.1", b"Host: localhost:8080", *CURL),
    "curl, HEAD": (b"HEAD / HTTP/1.1", b"Host: [::1]:8080", *CURL),
    "curl -0": (b"GET / HTTP/1.0", b"Host: a.test", *CURL),
    "curl --http2": (b"GET / HTTP/1.1", b"Host: a.test", *CURL, *H2C),
    "curl --http2 -d": (
        b"POST / HTTP/1.1", b"Host: a.test", *CURL, *H2C, b"Content-Length: 3",
        b"Content-Type: application/x-www-form-urlencoded",
    ),
    "curl -d, a long body": (
        b"POST /upload HTTP/1.1", b"Host: a.test", *CURL, b"Content-Length: 2000000",
        b"Content-Type: application/x-www-form-urlencoded", b"Expect: 100-continue",
    ),
    "curl -T -": (
        b"PUT /upload HTTP/1.1", b"Host: a.test", *CURL, b"Transfer-Encoding: chunked", b"Expect: 100-continue",
    ),
    "curl --tr-encoding": (
        b"GET / HTTP/1.1", b"Host: a.test", *CURL, b"Connection: TE", b"TE: gzip",
    ),
    "curl -x": (
        b"GET http://a.test/b?c=d HTTP/1.1", b"Host: a.test", *CURL, b"Proxy-Connection: Keep-Alive",
    ),
    "curl -x -U": (
        b"GET http://a.test HTTP/1.1", b"Host: a.test", b"Proxy-Authorization: Basic YTpi", *CURL,
    ),
    "wget": (
        b"GET / HTTP/1.1", b"Host: a.test", b"User-Agent: Wget/1.21.3", b"Accept: */*",
        b"Accept-Encoding: identity", b"Connection: Keep-Alive",
    ),
    "Go": (b"GET / HTTP/1.1", b"Host: a.test:80", b"User-Agent: Go-http-client/1.1", b"Accept-Encoding: gzip"),
    "Go, a stream": (
        b"POST /v1/events HTTP/1.1", b"Host: a.test", b"User-Agent: Go-http-client/1.1",
        b"Transfer-Encoding: chunked", b"Trailer: X-Checksum", b"Accept-Encoding: gzip",
    ),
    "Go, one request": (
        b"GET / HTTP/1.1", b"Host: a.test", b"User-Agent: Go-http-client/1.1", b"Accept-Encoding: gzip",
        b"Connection: close",
    ),
    "gRPC by Go": (
        b"POST /pkg.Service/Method HTTP/1.1", b"Host: a.test", b"User-Agent: grpc-go/1.60", b"Te: trailers",
        b"Content-Type: application/grpc", b"Transfer-Encoding: chunked",
    ),
    "Java 11": (b"GET /a HTTP/1.1", *JAVA_H2C),
    "Java 11, a body": (
        b"POST /a HTTP/1.1", JAVA_H2C[0], b"Content-Length: 5", *JAVA_H2C[1:], b"Content-Type: application/json",
    ),
    "Java 11, a stream": (b"POST /a HTTP/1.1", *JAVA_H2C, b"Transfer-encoding: chunked"),
    "Java 11, without HTTP/2": (
        b"GET /a HTTP/1.1", b"Content-Length: 0", b"Host: a.test", b"User-Agent: Java-http-client/21.0.2",
    ),
    "Java 8": (
        b"GET / HTTP/1.1", b"User-Agent: Java/1.8.0_392", b"Host: a.test",
        b"Accept: text/html, image/gif, image/jpeg, */*; q=0.2", b"Connection: keep-alive",
    ),
    "Apache HttpClient 5": (
        b"GET / HTTP/1.1", b"Accept-Encoding: gzip, x-gzip, deflate", b"Host: a.test", b"Connection: keep-alive",
        b"User-Agent: Apache-HttpClient/5.3 (Java/17.0.9)",
    ),
    "Apache HttpClient 5.4": (
        b"GET / HTTP/1.1", b"Accept-Encoding: gzip, deflate", b"Upgrade: TLS/1.2", b"Connection: Upgrade",
        b"Host: a.test", b"User-Agent: Apache-HttpClient/5.4 (Java/17.0.9)",
    ),
    "Apache HttpClient 3": (
        b"POST / HTTP/1.1", b"User-Agent: Jakarta Commons-HttpClient/3.1", b"Host: a.test:80",
        b"Content-Length: 12", b"Expect: 100-Continue", b"Keep-Alive: 300", b"Connection: Keep-Alive",
    ),
    "OkHttp": (
        b"GET / HTTP/1.1", b"Host: a.test", b"Connection: Keep-Alive", b"Accept-Encoding: gzip",
        b"User-Agent: okhttp/4.12.0",
    ),
    "requests": (
        b"GET /x HTTP/1.1", b"Host: a.test", b"User-Agent: python-requests/2.32.3",
        b"Accept-Encoding: gzip, deflate", b"Accept: */*", b"Connection: keep-alive",
        b"Authorization: Bearer x.y.z",
    ),
    "urllib": (
        b"GET / HTTP/1.1", b"Accept-Encoding: identity", b"Host: a.test", b"User-Agent: Python-urllib/3.11",
        b"Connection: close",
    ),
    "httpx": (
        b"PUT /v1/x HTTP/1.1", b"host:a.test", b"accept:*/*", b"accept-encoding:gzip", b"connection:keep-alive",
        b"user-agent:python-httpx/0.28.1", b"content-length:0",
    ),
    "aiohttp": (
        b"DELETE /v1/x HTTP/1.1", b"Host: a.test", b"Accept: */*", b"Accept-Encoding: gzip, deflate, br",
        b"User-Agent: Python/3.11 aiohttp/3.11.2",
    ),
    "Node, fetch": (
        b"GET / HTTP/1.1", b"host: a.test:3000", b"connection: keep-alive", b"accept: */*", b"accept-language: *",
        b"sec-fetch-mode: cors", b"user-agent: node", b"accept-encoding: gzip, deflate",
    ),
    "Node, http": (b"PATCH /x HTTP/1.1", b"Host: a.test", b"Connection: keep-alive", b"Transfer-Encoding: chunked"),
    "reqwest": (b"GET / HTTP/1.1", b"accept: */*", b"host: a.test"),
    "Ruby": (
        b"GET / HTTP/1.1", b"Accept-Encoding: gzip;q=1.0,deflate;q=0.6,identity;q=0.3", b"Accept: */*",
        b"User-Agent: Ruby", b"Host: a.test", b"Connection: close",
    ),
    "LWP": (
        b"GET / HTTP/1.1", b"TE: deflate,gzip;q=0.3", b"Connection: TE, close", b"Host: a.test",
        b"User-Agent: libwww-perl/6.68",
    ),
    ".NET Framework": (
        b"POST /s.asmx HTTP/1.1", b"Content-Type: text/xml; charset=utf-8", b"Host: a.test",
        b"Content-Length: 12", b"Expect: 100-continue", b"Connection: Keep-Alive",
    ),
    ".NET": (
        b"GET / HTTP/1.1", b"Host: a.test",
        b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        b"Request-Id: |0af7651916cd43dd.1.",
    ),
    "ab": (b"GET / HTTP/1.0", b"Host: a.test", b"User-Agent: ApacheBench/2.3", b"Accept: */*"),
    "ab -k": (
        b"GET / HTTP/1.0", b"Connection: Keep-Alive", b"Host: a.test", b"User-Agent: ApacheBench/2.3",
        b"Accept: */*",
    ),
    "ab -p": (
        b"POST / HTTP/1.0", b"Content-length: 5", b"Content-type: text/plain", b"Host: a.test",
        b"User-Agent: ApacheBench/2.3", b"Accept: */*",
    ),
    "wrk": (b"GET /hello?x=1 HTTP/1.1", b"Host: 127.0.0.1:8080"),
    "kube-probe": (
        b"GET /healthz HTTP/1.1", b"Host: 10.0.0.7:8080", b"User-Agent: kube-probe/1.29", b"Accept: */*",
        b"Connection: close",
    ),
    "ELB-HealthChecker": (
        b"GET / HTTP/1.1", b"Host: 10.0.0.7:8080", b"Connection: close", b"User-Agent: ELB-HealthChecker/2.0",
        b"Accept-Encoding: gzip, compressed",
    ),
    "GoogleHC": (b"GET / HTTP/1.1", b"Host: 10.0.0.7", b"User-Agent: GoogleHC/1.0", b"Connection: Keep-alive"),
    "HAProxy, a check": (b"OPTIONS / HTTP/1.0",),
    "HAProxy, a check of the server": (b"OPTIONS * HTTP/1.1", b"Host: a.test"),
    "an old probe": (b"GET /health HTTP/1.0", b"Connection: close"),
    "a CORS preflight": (
        b"OPTIONS /api HTTP/1.1", b"Host: a.test", b"Connection: keep-alive", b"Accept: */*",
        b"Access-Control-Request-Method: PUT", b"Origin: http://b.test",
    ),
    "a server of CGI, attacked": (
        b"GET / HTTP/1.1", b"Host: a.test", b"Proxy: http://c.test/", b"X_Forwarded_For: 127.0.0.1",
        b"Content_Length: 7",
    ),
}  # fmt: skip

FRONTS: dict[str, tuple[bytes, ...]] = {
    "CloudFront": (
        b"Connection: Keep-Alive", b"X-Amz-Cf-Id: RluGZxRY9Zk6M7uOfkFkTQ7mHm-aKVqdGxJ0Yw==",
        b"Via: 2.0 0123456789abcdef0123456789abcdef.cloudfront.net (CloudFront)",
        b"X-Forwarded-For: 203.0.113.7", b"CloudFront-Viewer-Country: DE", b"CloudFront-Forwarded-Proto: https",
    ),
    "Cloudflare": (
        b"Connection: Keep-Alive", b"CF-RAY: 8f2c2f7b6c1a9b3e-FRA", b"CF-IPCountry: DE",
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https", b'CF-Visitor: {"scheme":"https"}',
        b"CF-Connecting-IP: 203.0.113.7", b"CDN-Loop: cloudflare; loops=1",
    ),
    "Cloudflare, IPv6": (
        b"Connection: Keep-Alive", b"X-Forwarded-For: 2001:db8::7", b"X-Forwarded-Proto: http",
        b"CF-Connecting-IP: 2001:db8::7", b"CF-Connecting-IPv6: 2001:db8::7", b"True-Client-IP: 2001:db8::7",
    ),
    "Fastly": (
        b"X-Forwarded-For: 203.0.113.7, 198.51.100.3", b"X-Forwarded-Host: www.example.com",
        b"X-Forwarded-Server: cache-fra-eddf8230034-FRA", b"X-Timer: S1767225600.123456,VS0",
        b"X-Varnish: 1234567890", b"Fastly-Client-IP: 203.0.113.7", b"Fastly-FF: abc!FRA!cache-fra-FRA",
        b"CDN-Loop: Fastly", b"Fastly-SSL: 1", b"Via: 1.1 varnish",
    ),
    "Akamai": (
        b"X-Forwarded-For: 203.0.113.7", b"True-Client-IP: 203.0.113.7", b"TE:  chunked;q=1.0",
        b"Connection: TE, keep-alive", b"Via: 1.1 v1-akamaitech.net(ghost) (AkamaiGHost)",
    ),
    "ALB": (
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: https", b"X-Forwarded-Port: 443",
        b"X-Amzn-Trace-Id: Root=1-67891233-abcdef012345678912345678",
    ),
    "Google": (
        b"X-Cloud-Trace-Context: 0af7651916cd43dd8448eb211c80319c/1", b"Via: 1.1 google",
        b"X-Forwarded-For: 203.0.113.7,198.51.100.3", b"X-Forwarded-Proto: https", b"Connection: Keep-Alive",
    ),
    "Azure": (
        b"Via: HTTP/2.0 Azure", b"X-Azure-ClientIP: 203.0.113.7", b"X-Azure-Ref: 0abc", b"X-Forwarded-For: 203.0.113.7",
        b"X-Forwarded-Host: www.example.com", b"X-Forwarded-Proto: https", b"X-FD-HealthProbe: 1",
    ),
    "nginx": (
        b"X-Real-IP: 203.0.113.7", b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Proto: http",
        b"Connection: close",
    ),
    "nginx ingress": (
        b"X-Request-ID: 0123456789abcdef0123456789abcdef", b"X-Real-IP: 203.0.113.7",
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Host: www.example.com", b"X-Forwarded-Port: 80",
        b"X-Forwarded-Proto: http", b"X-Forwarded-Scheme: http", b"X-Scheme: http",
        b"X-Original-Forwarded-For: 192.0.2.1",
    ),
    "HAProxy": (
        b"X-Forwarded-Proto: https", b"X-Forwarded-For: 203.0.113.7", b"forwarded: proto=https;for=203.0.113.7",
        b"X-Unique-ID: CB007107:D2F0_0A000007:0050_6774",
    ),
    "Envoy": (
        b"x-forwarded-for: 203.0.113.7", b"x-forwarded-proto: http", b"x-envoy-external-address: 203.0.113.7",
        b"x-request-id: 0b2a6e3c-1f0e-4a57-9a6e-2a3c4d5e6f70", b"x-envoy-expected-rq-timeout-ms: 15000",
        b"x-envoy-attempt-count: 1", b"x-b3-traceid: 463ac35c9f6413ad48485a3953bb6124", b"x-b3-sampled: 0",
    ),
    "Traefik": (
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Host: www.example.com", b"X-Forwarded-Port: 80",
        b"X-Forwarded-Proto: http", b"X-Forwarded-Server: 3f2a9c1b7d4e", b"X-Real-Ip: 203.0.113.7",
        b"Accept-Encoding: gzip",
    ),
    "Caddy": (
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Host: www.example.com", b"X-Forwarded-Proto: https",
        b"Via: 1.1 Caddy", b"Accept-Encoding: gzip",
    ),
    "Apache": (
        b"X-Forwarded-For: 203.0.113.7", b"X-Forwarded-Host: www.example.com",
        b"X-Forwarded-Server: www.example.com", b"Connection: Keep-Alive", b"Via: 1.1 www.example.com",
    ),
    "Varnish": (b"X-Forwarded-For: 203.0.113.7", b"Via: 1.1 cache (Varnish/7.4)", b"X-Varnish: 32770"),
    "Squid": (
        b"Via: 1.1 proxy (squid/5.7)", b"X-Forwarded-For: 192.168.0.7", b"Cache-Control: max-age=259200",
        b"Connection: keep-alive",
    ),
    "a WAF": (
        b"X-Client-IP: 203.0.113.7", b"X-Cluster-Client-IP: 203.0.113.7", b"Client-IP: 203.0.113.7",
        b"X-Original-URL: /a", b"X-Rewrite-URL: /b", b"X-Original-Host: b.test",
        b"Forwarded: for=203.0.113.7;proto=https;host=a.test", b"Connection: X-Waf-Hop, keep-alive",
        b"X-Waf-Hop: 7",
    ),
}  # fmt: skip
"""What a proxy, a CDN or a balancer adds in front."""
ENDS_AT_A_FRONT = (b"connection", b"proxy-", b"keep-alive", b"upgrade:", b"http2-settings", b"te:")


def head(lines: Sequence[bytes]) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


def behind(front: Sequence[bytes], lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """The lines of a head as the proxy sends it on: what ends there is gone, its own are added."""
    method, target, _ = lines[0].split(b" ")
    if target.startswith(b"http://a.test"):
        target = target.removeprefix(b"http://a.test") or b"/"
    kept = [line for line in lines[1:] if not line.lower().startswith(ENDS_AT_A_FRONT)]
    host = [] if any(line.lower().startswith(b"host:") for line in kept) else [b"Host: a.test"]
    return (b"%b %b HTTP/1.1" % (method, target), *host, *kept, *front)
