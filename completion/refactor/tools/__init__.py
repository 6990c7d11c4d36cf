"""The tools behind the calls: one file each, all deterministic, all working on an overlay.

`carry_out` (one door up) picks them. A tool changes the overlay and returns notes and extras, or raises `RefusedError`.
"""
