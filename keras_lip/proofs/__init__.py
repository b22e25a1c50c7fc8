"""Norms of kernels that are bounded from above, in float64 on the host."""
