"""Cold starts as Lambda runs them: from nothing to a function's first answer."""
