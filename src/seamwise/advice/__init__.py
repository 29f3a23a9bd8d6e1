"""Advice: what the trials of a study say to whoever has to decide."""
