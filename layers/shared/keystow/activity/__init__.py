"""What happened in each authorization, refresh and delivery, in words and without secrets."""
