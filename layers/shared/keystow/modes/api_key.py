"""An API key typed in by its owner."""

from keystow.modes.base import Mode, Unchanging

MODE: Mode = Unchanging("API_KEY")
