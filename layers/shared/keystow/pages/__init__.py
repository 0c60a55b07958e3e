"""HTML pages that our own Lambdas render: white-label, self-contained, standard library only."""
