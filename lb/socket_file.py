"""The file of a Unix socket: who may connect through it."""

import grp
import os

from lb.settings.listen_address import UnixAddress


def group_id(name: str) -> int:
    """The number of a group, which may be given as a number too; LookupError, in words, if there is none."""
    if name.isascii() and name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise LookupError(f"there is no group {name!r}") from None


def set_access(address: UnixAddress, usual_mode: int) -> None:
    """Give the file, which must exist, its group and mode. To be called before anyone can connect.

    OSError where this process may not, or where there is no such group.
    """
    if address.group is not None:
        try:
            os.chown(address.path, -1, group_id(address.group))
        except LookupError as exc:
            raise OSError(str(exc)) from exc
        except PermissionError as exc:
            raise OSError(exc.errno, f"this user may not give it to group {address.group!r}") from exc
    os.chmod(address.path, usual_mode if address.mode is None else address.mode)
