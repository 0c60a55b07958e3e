"""The edge: events in, responses out."""
