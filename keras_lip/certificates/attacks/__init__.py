"""Attacks on classifiers, and on what is certified of them."""
