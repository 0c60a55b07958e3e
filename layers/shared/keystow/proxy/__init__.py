"""Requests of backends to providers' APIs, with the credential of a connection (contract 7)."""
