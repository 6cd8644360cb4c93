"""Addresses that no backend may have."""

import pytest

from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import MakeApi, Serve


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "http://[::1]:8080",
        "http://[::ffff:127.0.0.1]:8080",
        "http://0.0.0.0:8080",
        "http://127.0.0.1:9000",
        "http://10.1.1.1:8088",
        "http://169.254.169.254",
        "http://[::ffff:169.254.169.254]:80",
        "http://[fd00:ec2::254]:80",
        "http://2852039166",
        "http://0xa9fea9fe",
        "http://127.1:8080",
        "http://10.0.0.1:0",
        "http://10.0.0.1:70000",
        "http://a\r\nb",
        "unix:run/x",
        "unix:/run/lb",
        "unix:/run/../run/./lb",
        "unix:/var/run/docker.sock",
        "unix:/proc/self/root/run/docker.sock",
        "unix:/proc/self/root/run/lb",
        "unix:/proc/self/cwd/../../../../../../../../../run/lb",
        "http://[fd00:ec2::254%25eth0]:80",
        "http://user@10.0.0.1",
        "http://10.0.0.1/path",
        "https://127.0.0.1:8080",
        "https://10.1.1.2",
        "http://10.1.1.2:443",
        "https://169.254.169.254",
        "https://10.0.0.1/path",
    ],
)
async def test_g147_no_backend_is_ourselves_or_no_address(make_api: MakeApi, url: str) -> None:
    admin = AdminConfig(listen="127.0.0.1:9000")
    ours = ["127.0.0.1:8080", "[::]:8081", "http://10.1.1.1:8088", "https://10.1.1.2:443", "unix:/run/lb"]
    api = make_api(admin, listening=ours)
    for method, path, body in [("POST", "/backends", {"url": url}), ("PUT", "/backends", [{"url": url}])]:
        answer = await api(method, path, json=body)
        assert answer.status == 422
        assert answer.pointers == ["#/url" if method == "POST" else "#/0/url"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8088", "http://10.1.1.1:8080", "http://10.0.0.1", "http://web1"),
        *("https://10.0.0.1", "unix:/run/app.sock"),
    ],
)
async def test_g147_but_others_may(make_api: MakeApi, url: str) -> None:
    api = make_api(AdminConfig(), listening=["127.0.0.1:8080", "10.1.1.1:8088"])
    assert (await api("POST", "/backends", json={"url": url})).status == 201


async def test_g147_the_port_that_admin_really_got_is_refused(serve: Serve) -> None:
    async with serve() as service:
        form = f"url=http://localhost:{service.port}"
        head = f"POST /backends HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: {len(form)}\n"
        answer = await service.says(f"{head}Content-Type: application/x-www-form-urlencoded\n\n{form}")
    assert b"is this balancer itself" in answer
