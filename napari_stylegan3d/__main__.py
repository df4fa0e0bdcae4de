"""`python -m napari_stylegan3d`, as the command `napari-stylegan3d`."""

import sys

from napari_stylegan3d.app.window import main

if __name__ == "__main__":
    sys.exit(main())
