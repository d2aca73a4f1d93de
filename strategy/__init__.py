"""What a strategy is: arrays in, arrays out.

Nothing in this package reads a clock, a network, a file, AWS, MLflow or global random state.
"""
