"""tersely: the coding copilot that you run yourself. This package knows only its version and its rooms' address."""

__version__ = "0.1.0"
