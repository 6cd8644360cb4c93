"""What certificates are called."""

from dataclasses import replace
from pathlib import Path

from lb.tls.certificate import load_certificate
from lb.tls.certificate_ids import by_id
from lb.tls.pem_files import read_pem
from tests.kit.certificates import certificate, rsa_key


def test_the_first_name_is_the_id_and_others_have_more_behind_it(tmp_path: Path) -> None:
    both = [
        certificate("www.test", "test"),
        certificate("www.test", key=rsa_key(2048)),
        certificate("*.api.test"),
    ]
    files = [issued.write(tmp_path, str(at)) for at, issued in enumerate(both)]
    first, second, third = (load_certificate(*each, read_pem).certificate for each in files)
    again = [replace(second, fingerprint=str(at)) for at in range(2)]
    assert by_id([first, second, third, *again]) == {
        "www.test": first,
        "www.test~rsa": second,
        "*.api.test": third,
        "www.test~rsa-2": again[0],
        "www.test~rsa-3": again[1],
    }
