"""A package, because other people's distributions install one of this name, which would win."""
