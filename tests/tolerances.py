"""Tolerances that many tests share, each by what makes equal numbers differ.

Tests give their tolerances by these names, or with a reason of their own beside the number;
`tests/test_structure.py` finds one that has neither.
"""

#: float64 rounds at 1e-16 of a number: some operations on millimetres, means and affines.
DOUBLE = 1e-9
#: float32 rounds at 6e-8 of a number: some operations on intensities and latents, about 1.
FLOAT32 = 1e-6
#: Sums of up to some thousand float32 products about 1, whose order depends on the processor, its
#: instructions, the number of threads and what else is in a batch.
SUMS = 1e-5
#: Such sums after one another, as in the layers of a network, or in a quotient of sums.
LAYERS = 1e-4
#: Millimetres: NIfTI has its affine in float32, which rounds at 8e-6 between 128 and 256.
SFORM_MM = 1e-5
#: Millimetres: NIfTI's quaternion is float32 too, and multiplies up to 256 voxels.
QFORM_MM = 1e-4
#: Millimetres: DICOM has positions and directions as text of at most 16 characters.
DICOM_MM = 1e-3
