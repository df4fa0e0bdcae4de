"""`python -m stylegan3d` is `stylegan3d`: how torchrun starts the program."""

from stylegan3d.cli import main

if __name__ == "__main__":
    main()
