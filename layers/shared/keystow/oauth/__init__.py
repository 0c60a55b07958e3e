"""OAuth as a client speaks it: one module per RFC, each with a test file of the same name."""
