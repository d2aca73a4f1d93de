"""A retrain: what it is made of, how it is judged, and its steps."""
