"""An OAuth 1.0a token (RFC 5849); such tokens do not expire."""

from keystow.modes.base import Mode, Unchanging

MODE: Mode = Unchanging("OAUTH1")
