"""Loads NeMo models from ``.nemo`` files, the same way for recognisers and diarisers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any


def restore(file: Path, target: str, device: str) -> Any:
    """The model in evaluation mode on ``device``, deterministic. NeMo's logs are off.

    ``target`` names a class of ``nemo.collections.asr.models``; ``ASRModel`` takes the class that the file names.
    """
    # NeMo's telemetry warns at every import that it is off.
    logging.getLogger("nv_one_logger").setLevel(logging.ERROR)
    import nemo.collections.asr.models as models
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.ERROR)
    model = getattr(models, target).restore_from(str(file), map_location=device)
    # Dither would make two runs on one recording differ; padding to multiples is for training.
    model.preprocessor.featurizer.dither = 0.0
    model.preprocessor.featurizer.pad_to = 0
    return model.to(device).eval()
