"""Pictures to try: `python -m seamwise.systems.digits FOLDER [N]` writes N (10) PNG files, named by digits."""

import sys
from pathlib import Path

import cv2
import numpy as np

from seamwise.systems.digits import world


def main(folder: Path, n: int = 10) -> None:
    """Write n pictures of test handwriting, as NUMBER-LEFT-RIGHT.png."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = world.draw("test", n, seed=4)
    for k, (image, (left, right)) in enumerate(zip(pictures.image[:, 0], pictures.digit, strict=True)):
        cv2.imwrite(str(folder / f"{k:02d}-{left}-{right}.png"), (image * 255).astype(np.uint8))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), *map(int, sys.argv[2:3]))
