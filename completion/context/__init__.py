"""Repository context: snippets that may help at the cursor. Knows files and syntax, not prompts or models."""
