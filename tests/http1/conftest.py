"""Many short examples, and no deadline: a busy machine is not a bug."""

from hypothesis import settings

settings.register_profile("http", max_examples=150, deadline=None)
settings.load_profile("http")
