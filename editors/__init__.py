"""The clients: VS Code, Neovim and headless. Only `headless` is Python."""
