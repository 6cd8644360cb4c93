# ruff: noqa: E501 - a browser's head is as long as it is
"""What wrk sends, as its scripts in Lua: the heads of `tests.http1.real_heads`, and some that differ each time."""

from collections.abc import Iterable, Sequence

from tests.bench.setting import Setting
from tests.http1.real_heads import CLIENTS, FRONTS, behind, head

PATH = b"/hello"
CDNS = ("CloudFront", "Cloudflare", "Fastly", "Akamai", "Google", "Azure")
BEHIND_CDNS = [behind(FRONTS[cdn], CLIENTS["Chrome"]) for cdn in CDNS]
JAVA = [CLIENTS["Java 11"]]
AB = [CLIENTS["ab"]]

POST = 'wrk.method = "POST"\nwrk.body = string.rep("x", 1024)\n'
BROWSER = """
local count = 0
request = function()
  count = count + 1
  return wrk.format("GET", "/hello?page=" .. count, {
    ["Host"] = "www.example.com", ["Connection"] = "keep-alive",
    ["sec-ch-ua"] = '"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"',
    ["sec-ch-ua-mobile"] = "?0", ["sec-ch-ua-platform"] = '"Linux"', ["Upgrade-Insecure-Requests"] = "1",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ["Sec-Fetch-Site"] = "none", ["Sec-Fetch-Mode"] = "navigate", ["Sec-Fetch-User"] = "?1",
    ["Sec-Fetch-Dest"] = "document", ["Accept-Encoding"] = "br, zstd", ["Accept-Language"] = "en-GB,en;q=0.9",
    ["Cookie"] = "session=" .. string.format("%032x", count) .. "; theme=dark",
  })
end
"""
IN_TURN = """
local heads, count = {{ {heads} }}, 0
request = function()
  count = count % #heads + 1
  return heads[count]
end
"""
ROUTES = """
local hosts, paths, count = {{ {hosts} }}, {{ {paths} }}, 0
request = function()
  count = (count + 7919) % (#hosts * #paths)
  local host, path = hosts[math.floor(count / #paths) + 1], paths[count % #paths + 1]
  return "GET " .. path .. " HTTP/1.1\\r\\nHost: " .. host .. "\\r\\n\\r\\n"
end
"""
KEYS = """
local count = 0
request = function()
  count = (count + 7919) % 99991
  return string.format("GET /hello/%05d HTTP/1.1\\r\\nHost: bench\\r\\n\\r\\n", count)
end
"""


def in_turn(heads: Iterable[Sequence[bytes]]) -> str:
    """One head after the other, each for the page that the backends have."""
    return IN_TURN.format(heads=", ".join(quoted(head(for_page(lines))) for lines in heads))


def for_page(lines: Sequence[bytes]) -> list[bytes]:
    method, _target, version = lines[0].split(b" ")
    return [b" ".join((method, PATH, version)), *lines[1:]]


def over_routes(setting: Setting) -> str:
    """A request for each route, those that are near each other far apart.

    The same requests are sent where there is no route, so that a row shows what the routes cost, and not what
    many different heads do.
    """
    hosts = ", ".join(quoted(host.encode()) for host in setting.hosts)
    return ROUTES.format(hosts=hosts, paths=", ".join(quoted(path.encode()) for path in setting.paths))


def quoted(data: bytes) -> str:
    """As a string of Lua."""
    plain = (chr(byte) if chr(byte).isalnum() else f"\\{byte:03}" for byte in data)
    return f'"{"".join(plain)}"'
