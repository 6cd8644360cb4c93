"""Why the registry refuses a wish."""


class NotThere(LookupError):
    """There is no such backend or pool."""


class Conflict(ValueError):
    """The wish contradicts what is there already."""
