"""Proven upper bounds on the norms of kernels, in float64 on the host."""
