"""The lives of strategies: how a model stands, what is to be done, and the doing of it."""
