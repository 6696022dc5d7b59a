"""A still image as a clip of one frame."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from m2fnet.errors import MediaError
from m2fnet.media.container import MAX_PIXELS, require_file

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP")  # decoders that read one picture and follow no reference to elsewhere


def is_picture(path: Path) -> bool:
    """Whether the name of ``path`` says that it is a still image."""
    return path.suffix.lower() in SUFFIXES


def read_picture(path: Path, max_side: int | None = None) -> np.ndarray:
    """RGB picture (H, W, 3) as uint8, upright, its longer side scaled down to at most ``max_side`` pixels.

    Raises:
        MediaError: if it is not a picture, is damaged, or has more pixels than a frame may have.
    """
    require_file(path)
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise MediaError("open", f"the picture is larger than {MAX_PIXELS:,} pixels")
            if max_side is not None:
                image.thumbnail((max_side, max_side))
            shallow = image.point(lambda shade: shade * (1 / 256)) if image.mode == "I;16" else image  # else cut off
            return np.array(ImageOps.exif_transpose(shallow).convert("RGB"))
    except MediaError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:  # their texts name the path
        raise MediaError("open", f"it is no picture of the formats {', '.join(_FORMATS)}, or a huge one") from error
    except Exception as error:  # OSError, SyntaxError, ValueError, struct.error, EOFError, ...
        raise MediaError("decode", f"the picture is damaged ({type(error).__name__})") from error
