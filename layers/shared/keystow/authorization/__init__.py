"""An end user's way through an authorization: begun, returned from, or typed in."""
