"""One file per command of `tersely`. They parse, call a room, and print; nothing is decided here."""
