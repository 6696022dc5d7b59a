import logging
import warnings

from m2fnet.training.lightning_output import keep_lightning_to_the_point


def test_banners_and_expected_warnings_are_silenced_and_others_stay():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        keep_lightning_to_the_point(["predict returned None", ".*many workers"])
        for text in ("predict returned None, as asked", "it does not have many workers", "something else"):
            warnings.warn(text, stacklevel=1)
    assert [str(warning.message) for warning in shown] == ["something else"]
    banner, problem = (
        logging.getLogger("lightning_fabric.utilities.seed").isEnabledFor(level)
        for level in (logging.INFO, logging.WARNING)
    )
    assert (banner, problem) == (False, True)
