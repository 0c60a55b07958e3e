"""NetSuite's token-based authentication (OAuth 1.0a with a token of its owner)."""

from keystow.modes.base import Mode, Unchanging

MODE: Mode = Unchanging("TBA")
