"""Pictures of the age system's world a second, on one core.

Counted are seconds of the processor, so that what else runs there does not count; wall seconds stand beside them.
"""

import argparse
import statistics
import time

import cv2

from seamwise.systems.age import world

N_ROUNDS = 5


def rates(n: int, seed: int) -> tuple[float, float]:
    """Pictures a second of the processor, and of the clock."""
    start, began = time.process_time(), time.perf_counter()
    world.draw(n, seed)
    return n / (time.process_time() - start), n / (time.perf_counter() - began)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--pictures", type=int, default=200, help="in each call")
    n = asked.parse_args().pictures
    cv2.setNumThreads(1)
    rates(8, 0)
    each = [rates(n, seed) for seed in range(1, 1 + N_ROUNDS)]
    processor, clock = (statistics.median(one) for one in zip(*each, strict=True))
    print(f"pictures of {world.PICTURE_PX} px a second of the processor (of the clock), {n:,} a call:")
    print(f"{processor:,.0f} ({clock:,.0f})")


if __name__ == "__main__":
    main()
