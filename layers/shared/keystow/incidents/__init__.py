"""The kill switch: tokens that have leaked are revoked at their providers, all of a scope."""
