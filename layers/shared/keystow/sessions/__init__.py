"""Connect sessions: what a SaaS lets one end user do for half an hour."""
