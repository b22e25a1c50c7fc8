"""Certificates of classifiers that end in a curvature head."""
