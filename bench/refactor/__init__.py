"""Wishes carried out end to end on held-out packages."""
