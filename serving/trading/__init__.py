"""How an account is traded: what the trading bot does in a tick, one idea a file."""
