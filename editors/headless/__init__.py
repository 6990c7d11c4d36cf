"""The headless client: batch work over files and repositories, without an editor."""
