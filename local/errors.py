"""What can go wrong with the local stack in a way that its user can do something about."""

from __future__ import annotations


class LocalStackError(Exception):
    """The local stack cannot run; the text says why and what to do."""
