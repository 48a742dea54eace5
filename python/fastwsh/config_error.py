"""The exception for a setting that cannot be used."""

__all__ = ["ConfigError"]


class ConfigError(Exception):
    """A setting that cannot be used; `str()` is one sentence that names it and the remedy."""
