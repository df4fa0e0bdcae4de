"""The networks: StyleGAN2 in three dimensions, in plain PyTorch."""
