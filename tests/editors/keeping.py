"""Where the documents' pictures are made anew: in the folder that TERSELY_SCREENSHOTS names, if it does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def keep(*pictures: Path) -> None:
    """Copy those that were made."""
    folder = os.environ.get("TERSELY_SCREENSHOTS")
    for picture in pictures if folder else ():
        if picture.exists():
            shutil.copy(picture, folder)  # type: ignore[arg-type]
