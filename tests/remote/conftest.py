import pytest

from lb.remote import http_calls, tap
from tests.remote.kit import Script, Terminal


@pytest.fixture
def lb(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Terminal:
    """A terminal in an empty folder, and a scripted API that it talks to."""
    script = Script()
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    monkeypatch.delenv("LB_ADMIN", raising=False)
    monkeypatch.delenv("LB_ADMIN_TOKEN", raising=False)
    monkeypatch.setattr(http_calls, "answered", script)
    monkeypatch.setattr(tap, "POLL_SECONDS", 0.0)
    return Terminal(script, capsys)
