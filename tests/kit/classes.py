"""The classes of the program, whose build may be the pure or the compiled one."""


def attributes(cls: type) -> tuple[str, ...]:
    """The names of what each instance has. A class with slots loses `__slots__` where it is compiled."""
    found: tuple[str, ...] = getattr(cls, "__mypyc_attrs__", None) or cls.__dict__["__slots__"]
    return found
