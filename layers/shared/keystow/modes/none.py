"""No credential at all."""

from keystow.modes.base import Mode, Unchanging

MODE: Mode = Unchanging("NONE")
