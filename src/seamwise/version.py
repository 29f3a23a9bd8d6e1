"""The version, where all can read it."""

VERSION = "0.1.0"
