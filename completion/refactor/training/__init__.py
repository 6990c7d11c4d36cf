"""Wishes made from real code, for training and for measuring the embedded model. No model is asked here."""
