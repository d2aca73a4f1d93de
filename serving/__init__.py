"""Processes that run strategies and launch the jobs that find them; each AWS Lambda is one file."""
