"""Reports of proofs, as objects, files and HTML pages."""
