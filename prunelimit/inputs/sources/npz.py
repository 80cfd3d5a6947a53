"""Arrays in a file of numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...config import DataConfig
from ...errors import InputError
from ..arrays import tensors
from ..resolve import reason
from ..source import DataSource, Raw

NAME = "npz"
ORDER = 7
FORM = r"(?s:npz:.*)"
LABEL = "npz:PATH"
SOURCE = "numpy"
HELP = "x_train, y_train, x_test and y_test in a file of numpy.savez."

__all__ = ["DATA"]


def _read(spec: str, config: DataConfig) -> Raw:
    path = Path(spec.removeprefix("npz:"))
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = ("x_train", "y_train", "x_test", "y_test")
            missing = [key for key in keys if key not in archive]
            if missing:
                raise InputError(f"{path} lacks {missing[0]}; give {', '.join(keys)}.")
            arrays = [archive[key] for key in keys]
    except FileNotFoundError:
        raise InputError(f"There is no file {path}; check the name.") from None
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as an .npz archive of plain arrays ({reason(error)}); save it "
            "with numpy.savez."
        ) from error
    return tensors(str(path), arrays)


DATA = DataSource(NAME, SOURCE, HELP, read=_read)
