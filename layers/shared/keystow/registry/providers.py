"""Providers."""

from keystow.integrations.providers import find, list_all

__all__ = ["find", "list_all"]
