"""Attacks on classifiers and on their certificates."""
