"""The table says what is reached and what is missed."""

from stylegan3d.evaluation.table import figures


def by_name(report: dict) -> dict:
    return {figure.name: figure for figure in figures(report)}


def fidelity(synthetic: float, kid: float, bmmd2: float) -> dict:
    distance = {"synthetic": synthetic, "real": 0.1, "ratio": synthetic / 0.1, "n": 9}
    kernel = {"synthetic": kid, "real": -1e-5, "real_q95": 1e-4, "n": 9}
    beside = {"synthetic": bmmd2, "real": 100.0, "ratio": bmmd2 / 100, "batch": 8}
    return {
        "bmmd2_validation": beside,
        "fid": distance,
        "fid_validation": distance,
        "fid_diagonal": distance,
        "fid_diagonal_validation": distance,
        "kid": kernel,
        "kid_validation": kernel,
        "bmmd2": {
            "synthetic": bmmd2,
            "real": 100.0,
            "ratio": bmmd2 / 100,
            "batch": 8,
            "variance_ratio": 0.5,
        },
    }


def test_ratios_decide() -> None:
    good = by_name({"fidelity": fidelity(0.149, 1.4e-4, 129)})
    bad = by_name({"fidelity": fidelity(0.151, 1.6e-4, 131)})
    held_out = "bMMD2 to validation subjects (batch 8)"
    for name in ("FID (n = 9)", "KID x 1000 (n = 9)", "bMMD2 (batch 8)", held_out):
        assert good[name].reached is True
        assert bad[name].reached is False
    better = by_name({"fidelity": fidelity(0.129, 1.4e-4, 129)})
    for name in (
        "  features taken as independent",
        "  features taken as independent to validation subjects",
    ):
        assert better[f"{name} (n = 9)"].reached is True
        assert bad[f"{name} (n = 9)"].reached is False
    assert bad["FID (n = 9)"].compared == "1.51 x"
    assert good["  variance over voxels"].compared == "0.50 x"


def test_too_alike_and_too_unlike_both_miss() -> None:
    for synthetic, reached in ((0.78, True), (0.84, False), (0.74, False)):
        scores = {"synthetic": synthetic, "real": 0.79, "difference": synthetic - 0.79}
        part = {"ms_ssim": scores, "pair_correlation": {"synthetic": 0.8, "real": 0.7}}
        assert by_name({"diversity": part})["MS-SSIM of pairs"].reached is reached


def test_shares_stand_beside_those_of_people() -> None:
    share = {
        "synthetic": 0.4,
        "synthetic_interval": (0.35, 0.45),
        "real": 0.8,
        "real_interval": (0.7, 0.9),
        "ratio": 0.5,
        "ratio_interval": (0.4375, 0.5625),
        "n": 9,
    }
    part = fidelity(0.1, 0, 100) | {"precision": share, "density": share}
    row = by_name({"fidelity": part})["precision (n = 9)"]
    assert (row.synthetic, row.real) == ("0.40 (0.35 to 0.45)", "0.80 (0.70 to 0.90)")
    assert row.compared == "0.50 x (0.44 to 0.56)"
    assert (row.value, row.low, row.high) == (0.4, 0.35, 0.45)
    assert (row.real_value, row.real_low, row.real_high) == (0.8, 0.7, 0.9)


def test_one_implausible_brain_misses() -> None:
    people = {"passed": 27, "n": 27, "reasons": {}}
    made = {"passed": 199, "n": 200, "reasons": {"the brain is not in one piece": 1}}
    rows = by_name({"plausibility": {"synthetic": made, "validation": people}})
    assert rows["plausible brains"].reached is False
    assert rows["  the brain is not in one piece"].synthetic == "1"


def test_both_measures_of_a_reconstruction_count() -> None:
    part = {
        "n": 27,
        "budget": "draft",
        "encoder": {"ssim": 0.67, "psnr": 18.9},
        "projected": {"ssim": 0.79, "psnr": 21.5},
        "mean_brain": {"ssim": 0.59, "psnr": 17.6},
        "blurred": {"ssim": 0.83, "psnr": 21.1},
    }
    encoder, projected = figures({"reconstruction": part})
    assert encoder.reached is False
    assert projected.reached is True
    assert "mean brain 0.590" in encoder.real
    assert "blurred scan 0.830" in projected.real
