"""Integrations."""

from keystow.integrations.lookup import by_id, by_unique_key, list_all

__all__ = ["by_id", "by_unique_key", "list_all"]
