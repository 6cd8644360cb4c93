"""`[tls.acme]`: values are right, or their key is named."""

from typing import Any

import pytest

from lb.config.decode import Reader
from lb.settings.acme_settings import (
    DIRECTORIES,
    AcmeSettings,
    ExternalAccount,
    directory_url,
    is_certifiable,
    wanted_names,
)

LEAST = {"names": ["www.example.com"], "storage": "/var/lib/lb/acme", "terms_agreed": True}


def read(**values: Any) -> tuple[AcmeSettings, list[str]]:
    """What the table says, and the mistakes in it."""
    reader = Reader()
    settings = reader.struct(AcmeSettings, LEAST | values, "tls.acme")
    assert isinstance(settings, AcmeSettings) or reader.mistakes
    if isinstance(settings, AcmeSettings) and not reader.mistakes:
        try:
            settings = settings.checked()
        except ValueError as exc:
            reader.mistakes.append(f"tls.acme.{exc}")
    return settings, reader.mistakes  # type: ignore[return-value]


def test_the_least_that_is_to_be_said() -> None:
    settings, mistakes = read()
    assert mistakes == []
    assert settings == AcmeSettings(names=("www.example.com",), storage="/var/lib/lb/acme", terms_agreed=True)
    assert settings.directory == ("letsencrypt",)
    assert settings.challenge == "http-01"


def test_all_of_it() -> None:
    settings, mistakes = read(
        names=["WWW.Example.com.", "api.example.com", "www.example.com"],
        directory=["https://ca.internal/acme", "letsencrypt"],
        contact="mailto:ops@example.com",
        challenge="tls-alpn-01",
        eab=[{"directory": "https://ca.internal/acme", "key_id": "k", "key_file": "/etc/lb/eab"}],
        ca="/etc/lb/ca.pem",
    )
    assert mistakes == []
    assert settings.names == ("www.example.com", "api.example.com")
    assert settings.contact == ("ops@example.com",)
    account = settings.external_account("https://ca.internal/acme")
    assert account is not None
    assert account.key_file == "/etc/lb/eab"
    assert settings.external_account("letsencrypt") is None


def test_an_account_without_a_directory_is_for_the_only_one() -> None:
    settings, mistakes = read(eab=[{"key_id": "k", "key_file": "f"}])
    assert mistakes == []
    assert settings.external_account("letsencrypt") == ExternalAccount(key_id="k", key_file="f")


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"names": []}, 'names: expected "routes", or names, got []'),
        ({"names": "route"}, "names: 'route' is not a whole name in DNS"),
        ({"names": 3}, 'names: expected "routes", or names, got 3'),
        ({"names": ["*.example.com"]}, "names: '*.example.com' is a wildcard, which http-01 and tls-alpn-01"),
        ({"names": ["10.0.0.1"]}, "names: '10.0.0.1' is not a whole name in DNS"),
        ({"names": ["localhost"]}, "names: 'localhost' is not a whole name"),
        ({"names": ["a_b.example.com"]}, "names: 'a_b.example.com' is not a whole name"),
        ({"names": ["a/../b.example.com"]}, "is not a whole name"),
        ({"names": ["bücher.example.com"]}, "write it as it is in DNS, with xn--"),
        ({"names": [3]}, "names: expected text, got a whole number"),
        ({"names": ["a.example.com"] * 10_001}, "names: more than 10000 names"),
        ({"directory": "letsencypt"}, "directory: expected letsencrypt, staging or an https URL"),
        ({"directory": "http://ca.internal/"}, "or an https URL, got 'http://ca.internal/'"),
        ({"directory": "https://"}, "or an https URL"),
        ({"directory": "https://[/"}, "or an https URL"),
        ({"directory": []}, "directory: expected letsencrypt, staging or an https URL, or a list of them"),
        ({"directory": ["staging"] * 9}, "directory: more than 8 directories"),
        ({"directory": ["staging", DIRECTORIES["staging"]]}, "names a directory twice"),
        ({"contact": "ops"}, "contact: 'ops' is not an address such as ops@example.com"),
        ({"contact": ["a@b", "a@b?cc=d"]}, "contact: 'a@b?cc=d' is not an address"),
        ({"contact": 3}, "contact: expected an address such as"),
        ({"terms_agreed": False}, "terms_agreed: letsencrypt gives certificates only to those who agree"),
        ({"storage": ""}, "storage: expected a path"),
        ({"challenge": "dns-01"}, "challenge: expected one of http-01, tls-alpn-01, got 'dns-01'"),
        ({"ca": ""}, "ca: expected a path"),
        ({"eab": [{"key_id": "k"}]}, "eab[0].key_file: is missing"),
        (
            {"eab": [{"directory": "staging", "key_id": "k", "key_file": "f"}]},
            "eab[0].directory: expected one of letsencrypt, got 'staging'",
        ),
        (
            {"directory": ["letsencrypt", "staging"], "eab": [{"key_id": "k", "key_file": "f"}]},
            "eab[0].directory: expected one of letsencrypt, staging, got ''",
        ),
        ({"eab": [{"key_id": "k", "key_file": "f"}] * 2}, "eab: two of them are for the same directory"),
        ({"email": "ops@example.com"}, "email: unknown key"),
    ],
)
def test_a_mistake_names_its_key(values: dict[str, Any], complaint: str) -> None:
    _, mistakes = read(**values)
    assert len(mistakes) == 1
    assert mistakes[0].startswith("tls.acme.")
    assert complaint in mistakes[0]
    assert len(mistakes[0]) < 250


def test_terms_of_an_authority_of_ones_own_are_its_own_to_name() -> None:
    _, mistakes = read(directory="https://ca.internal/", terms_agreed=False)
    assert mistakes == []


def test_words_and_urls_of_directories() -> None:
    assert directory_url("staging") == "https://acme-staging-v02.api.letsencrypt.org/directory"
    assert directory_url("https://ca.internal/") == "https://ca.internal/"


def test_names_of_routes_are_those_that_can_be_proved() -> None:
    settings, _ = read(names="routes")
    hosts = [
        None,
        "www.example.com",
        "*.example.com",
        "localhost",
        "[::1]",
        "10.0.0.1",
        "www.example.com",
        "a_b.c",
    ]
    assert wanted_names(settings, hosts) == ("www.example.com",)
    assert wanted_names(read()[0], hosts) == ("www.example.com",)


@pytest.mark.parametrize(
    "name", ["", ".", "a", "a..b", "-a.b", "a-.b", "a.b.", f"{'a' * 64}.b", "a.b" * 90, "A.b", "a.1", "a b.c"]
)
def test_what_is_no_name(name: str) -> None:
    assert not is_certifiable(name)
