"""A visual tracker: features, correlate, place; and what a person runs of it."""
