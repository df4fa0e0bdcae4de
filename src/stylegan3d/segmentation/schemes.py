"""Which labels there are to learn."""

from stylegan3d.segmentation.classes import TISSUES
from stylegan3d.segmentation.lesions import LESIONS
from stylegan3d.segmentation.regions import REGIONS

SCHEMES = {scheme.name: scheme for scheme in (TISSUES, REGIONS, LESIONS)}
