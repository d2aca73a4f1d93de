"""Jobs that produce strategies: search, walk-forward, Monte Carlo, figures, registration."""
