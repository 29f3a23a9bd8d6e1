"""Linear probes: which fields can be read from the layers of a network."""
