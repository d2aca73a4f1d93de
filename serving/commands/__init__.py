"""The operator's commands, one idea a file: each adds itself to the command line."""
