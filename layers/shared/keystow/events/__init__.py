"""Events: written with the change they tell of, then delivered as signed webhooks."""
