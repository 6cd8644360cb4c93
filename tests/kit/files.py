"""Files for tests that go into no kit of their own."""

from pathlib import Path


def secret(path: Path, text: str) -> Path:
    """A file with this text that only its owner may read."""
    path.write_text(text)
    path.chmod(0o600)
    return path
