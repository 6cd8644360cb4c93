"""The version of the installed package; every answer of the API has it in the field Lb-Version."""

from importlib.metadata import PackageNotFoundError, version

VERSION_FIELD = "Lb-Version"


def _version() -> str:
    try:
        return version("trio-lb")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"


VERSION = _version()
