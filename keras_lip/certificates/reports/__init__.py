"""What was proven, as objects, files and pages."""
