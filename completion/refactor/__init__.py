"""Refactoring by function calls: a wish becomes calls that the model chooses and deterministic tools carry out."""
