"""seamwise"""
