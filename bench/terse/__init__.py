"""Terse in numbers: what is generated and shown beside what was needed, and what the veto would get wrong."""
