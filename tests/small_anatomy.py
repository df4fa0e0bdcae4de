"""Settings of an anatomy model of 20 x 28 x 24 voxels, which is fitted in a second."""

from dataclasses import replace

from stylegan3d.networks.config import AnatomyConfig, EncoderConfig
from stylegan3d.training.options import AnatomySettings


def small_anatomy(calibrate=True, **generator):
    """Five velocity fields, five images and six detail images, or as told."""
    config = AnatomyConfig(
        base=(5, 7, 6),
        levels=2,
        z_dim=16,
        w_dim=16,
        head="haar",
        image_const=True,
        image_basis=5,
        detail_basis=6,
        deformation=5,
        deformation_level=1,
        mapping_linear_output=True,
    )
    config = replace(config, **generator)
    encoder = EncoderConfig(kind="fitting", w_dim=config.w_dim, num_layers=4)
    return AnatomySettings(config, encoder, detail_gain=1.0, calibrate=calibrate)
