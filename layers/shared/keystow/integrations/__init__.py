"""Integrations, and the providers they are made of: built in, or an environment's own."""
