"""Pictures of the gate's world a second, on one core: the first call, which makes people and rooms, and after it.

Counted are seconds of the processor, so that what else runs there does not count; wall seconds stand beside them.
"""

import argparse
import statistics
import time

import cv2
import torch

from seamwise.systems.gate import world

N_ROUNDS = 5


def rates(n: int, seed: int) -> tuple[float, float]:
    """Pictures a second of the processor, and of the clock."""
    start, began = time.process_time(), time.perf_counter()
    world.draw("train", n, seed)
    return n / (time.process_time() - start), n / (time.perf_counter() - began)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--pictures", type=int, default=1000, help="in each call")
    n = asked.parse_args().pictures
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    first = rates(n, 0)
    after = [statistics.median(each) for each in zip(*(rates(n, seed) for seed in range(1, 1 + N_ROUNDS)), strict=True)]
    print(f"pictures of {world.PICTURE_PX} px a second of the processor (of the clock), {n:,} a call:")
    print(f"the first call {first[0]:,.0f} ({first[1]:,.0f}), after it {after[0]:,.0f} ({after[1]:,.0f})")


if __name__ == "__main__":
    main()
