"""Headers of the PROXY protocol as programs and clouds send them, in hex, and what they say.

Those of "haproxy 2.6" and "nginx 1.22" were recorded on loopback addresses. The first of AWS is in the tests
of its elastic-load-balancing-tools. The second, and the two with what haproxy knows of TLS, are records in
the tests of go-proxyproto, as are the TLVs of GCP and Azure, to which addresses were added here.
"""

from lb.core.proxy_tlvs import AWS, AZURE, CRC32C, GCP, SSL, UNIQUE_ID
from lb.net.proxy_header import ProxyHeader

SIGNATURE = "0d0a0d0a000d0a515549540a"
LOCAL = ProxyHeader(None, 0, None, 0, is_local=True)

REAL: dict[str, tuple[str, ProxyHeader, dict[str, str]]] = {
    "the specification's example": (
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".hex(),
        ProxyHeader("192.168.0.1", 56324, "192.168.0.11", 443),
        {},
    ),
    "haproxy 2.6, send-proxy": (
        b"PROXY TCP4 127.0.0.1 127.0.0.1 33144 19431\r\n".hex(),
        ProxyHeader("127.0.0.1", 33144, "127.0.0.1", 19431),
        {},
    ),
    "haproxy 2.6, send-proxy, a client on a Unix socket": ("50524f585920554e4b4e4f574e0d0a", LOCAL, {}),
    "haproxy 2.6, send-proxy-v2": (
        f"{SIGNATURE} 2111000c 7f000001 7f000001 c7784be8",
        ProxyHeader("127.0.0.1", 51064, "127.0.0.1", 19432),
        {},
    ),
    "haproxy 2.6, send-proxy-v2, IPv6": (
        f"{SIGNATURE} 21210024 {'00' * 15}01 {'00' * 15}01 ecb24be8",
        ProxyHeader("::1", 60594, "::1", 19432),
        {},
    ),
    "haproxy 2.6, a health check": (f"{SIGNATURE} 20000000", LOCAL, {}),
    "haproxy 2.6, checksum and unique id": (
        f"{SIGNATURE} 21110028 7f000001 7f000001 bc664bfa 030004 60b1a1e9"
        f"050012 {b'7F000001:BC66_0006'.hex()}",
        ProxyHeader(
            "127.0.0.1",
            48230,
            "127.0.0.1",
            19450,
            tlvs=((CRC32C, bytes.fromhex("60b1a1e9")), (UNIQUE_ID, b"7F000001:BC66_0006")),
        ),
        {"unique_id": "7F000001:BC66_0006"},
    ),
    "haproxy 2.6, checksum and unique id, IPv6": (
        f"{SIGNATURE} 21210038 {'00' * 15}01 {'00' * 15}01 accc4be9 030004 4baac6fc"
        f"05000a {b'id-30935-5'.hex()}",
        ProxyHeader(
            "::1",
            44236,
            "::1",
            19433,
            tlvs=((CRC32C, bytes.fromhex("4baac6fc")), (UNIQUE_ID, b"id-30935-5")),
        ),
        {"unique_id": "id-30935-5"},
    ),
    "haproxy 2.6, a client on a Unix socket, checksum and unique id": (
        f"{SIGNATURE} 20000014 030004 7c167c2d 05000a {b'id-30935-9'.hex()}",
        LOCAL,
        {},
    ),
    "nginx 1.22, proxy_protocol on": (
        b"PROXY TCP6 ::1 ::1 47028 19471\r\n".hex(),
        ProxyHeader("::1", 47028, "::1", 19471),
        {},
    ),
    "nginx 1.22, a client on a Unix socket": (b"PROXY UNKNOWN\r\n".hex(), LOCAL, {}),
    "AWS, an endpoint service, with checksum and padding": (
        f"{SIGNATURE} 21110054 ac1f0771 ac1f0a1f c8f20050 030004 e8d6892d"
        f"ea0017 01 {b'vpce-08d2bf15fac5001c9'.hex()} 040024 {'00' * 36}",
        ProxyHeader(
            "172.31.7.113",
            51442,
            "172.31.10.31",
            80,
            tlvs=((CRC32C, bytes.fromhex("e8d6892d")), (AWS, b"\x01vpce-08d2bf15fac5001c9")),
        ),
        {"aws_vpc_endpoint": "vpce-08d2bf15fac5001c9"},
    ),
    "AWS, another": (
        f"{SIGNATURE} 21110054 c0a82c0a c0a82c07 cc3e241b 030004 b9286fa6"
        f"ea0017 01 {b'vpce-00eafc458ec97b833'.hex()} 040024 {'00' * 36}",
        ProxyHeader(
            "192.168.44.10",
            52286,
            "192.168.44.7",
            9243,
            tlvs=((CRC32C, bytes.fromhex("b9286fa6")), (AWS, b"\x01vpce-00eafc458ec97b833")),
        ),
        {"aws_vpc_endpoint": "vpce-00eafc458ec97b833"},
    ),
    "haproxy, with the name of a client certificate": (
        f"{SIGNATURE} 21110040 7f000001 7f000001 cc8a232e 200031 07 00000000"
        f"210007 {b'TLSv1.3'.hex()} 22001f {b'Example Common Name Client Cert'.hex()}",
        ProxyHeader(
            "127.0.0.1",
            52362,
            "127.0.0.1",
            9006,
            tlvs=(
                (
                    SSL,
                    b"\x07\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x22\x00\x1fExample Common Name Client Cert",
                ),
            ),
        ),
        {
            "tls_version": "TLSv1.3",
            "tls_client_name": "Example Common Name Client Cert",
            "tls_certificate": "verified",
        },
    ),
    "haproxy, IPv4 in IPv6, with the cipher": (
        f"{SIGNATURE} 2121004f {'00' * 10}ffff 0a015b0e {'00' * 10}ffff 0a01019f f47c01bb 200028 01 00000000"
        f"210007 {b'TLSv1.3'.hex()} 230016 {b'TLS_AES_256_GCM_SHA384'.hex()}",
        ProxyHeader(
            "10.1.91.14",
            62588,
            "10.1.1.159",
            443,
            tlvs=((SSL, b"\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_256_GCM_SHA384"),),
        ),
        {"tls_version": "TLSv1.3", "tls_cipher": "TLS_AES_256_GCM_SHA384"},
    ),
    "GCP, Private Service Connect": (
        f"{SIGNATURE} 21110017 0a800002 0a8a0003 c3500050 e00008 ffffffffc0a86402",
        ProxyHeader("10.128.0.2", 50000, "10.138.0.3", 80, tlvs=((GCP, bytes.fromhex("ffffffffc0a86402")),)),
        {"gcp_connection": "18446744072646845442"},
    ),
    "Azure, Private Link": (
        f"{SIGNATURE} 21110014 0a000104 0a000205 d43101bb ee0005 01 c1450021",
        ProxyHeader("10.0.1.4", 54321, "10.0.2.5", 443, tlvs=((AZURE, bytes.fromhex("01c1450021")),)),
        {"azure_link": str(0x210045C1)},
    ),
}
"""Hex, what it says, and what `told` says of its TLVs."""
