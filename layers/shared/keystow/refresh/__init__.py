"""Keeping credentials fresh: when, by whom, and what happens when it fails."""
