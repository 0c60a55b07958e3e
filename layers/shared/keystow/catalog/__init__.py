"""The provider catalogue: what Keystow knows about other companies' APIs, kept as data.

`loader` reads entries and imports nothing heavy; `model` (pydantic) checks them and is imported
only where a definition is written.
"""
