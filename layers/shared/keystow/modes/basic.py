"""A user name and a password (RFC 7617)."""

from keystow.modes.base import Mode, Unchanging

MODE: Mode = Unchanging("BASIC")
