"""Connections: made, read, listed, changed, deleted."""
