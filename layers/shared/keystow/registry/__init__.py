"""Finding integrations and providers: read by the hot path, so nothing heavy is loaded here."""
