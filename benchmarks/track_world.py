"""Frames that the tracking world draws in a second of one core, once what all clips share has been made."""

import argparse
import time

import cv2

from seamwise.systems.track import scenes, world


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--clips", type=int, default=48)
    asked.add_argument("--frames", type=int, default=60)
    asked.add_argument("--width", type=int, default=240)
    asked.add_argument("--height", type=int, default=180)
    options = asked.parse_args()
    cv2.setNumThreads(1)
    start = time.process_time()
    for k in range(scenes.N_STOCK):
        scenes.stock(k)
    world.draw(options.clips, options.frames, options.width, options.height)
    shared_s = time.process_time() - start
    start = time.process_time()
    for seed in range(options.clips):
        world.draw(seed, options.frames, options.width, options.height)
    rate = options.clips * options.frames / (time.process_time() - start)
    size = f"{options.clips} clips of {options.frames} frames of {options.width} x {options.height} px"
    print(f"{size}: {rate:.0f} frames a second; before the first, {shared_s:.1f} s")


if __name__ == "__main__":
    main()
