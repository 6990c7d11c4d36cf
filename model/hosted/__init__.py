"""Hosted models behind the `Engine` seam, for those who choose them. Knows no torch and starts no process."""
