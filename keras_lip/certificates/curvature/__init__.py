"""Certificates of classifiers that end in a head of bounded curvature."""
