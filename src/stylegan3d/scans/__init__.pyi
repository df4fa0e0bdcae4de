"""What the package offers; `__init__.py` imports each name when it is first used."""

from .aligned import AlignedScan as AlignedScan
from .aligned import PreparationStep as PreparationStep
from .alignment import Target as Target
from .alignment import Template as Template
from .alignment import load_template as load_template
from .dicom import Series as Series
from .dicom import SeveralSeries as SeveralSeries
from .dicom import list_series as list_series
from .label_maps import looks_like_labels as looks_like_labels
from .reading import SeveralVolumes as SeveralVolumes
from .reading import read_scan as read_scan
from .resampling import native_image as native_image
from .scan import Scan as Scan
from .scan import SecondImage as SecondImage
from .scan import second_image as second_image
