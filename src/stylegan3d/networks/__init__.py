"""The networks, in plain PyTorch: one architecture a file."""
