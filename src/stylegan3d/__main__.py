"""`python -m stylegan3d`, as needed by torchrun."""

from stylegan3d.cli import main

if __name__ == "__main__":
    main()
