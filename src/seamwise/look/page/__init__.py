"""The page of a look, and its drawings."""
