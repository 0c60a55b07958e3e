"""Environments, their API keys and settings."""
