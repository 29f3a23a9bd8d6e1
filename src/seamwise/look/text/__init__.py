"""Units of networks that read text: which concepts they answer to."""
