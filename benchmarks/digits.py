"""The figures of the digits task, from a run folder made by

    seamwise study digits --out RUN [--variants given]

(resumed here where it is not complete): each regime's error at 1,600 labels of the sum, and how far `endtoend` is
from the best.
"""

import argparse
from pathlib import Path

import numpy as np

from seamwise import study

AT = 1600


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("run", type=Path)
    asked.add_argument("--variant", default="given")
    options = asked.parse_args()
    result = study("digits", options.run, variants=[options.variant])
    print(result)
    best, probability = result.best(AT, options.variant)
    here = (options.variant, "endtoend")
    gap = result.bootstrap.means(result.errors(here, AT)) - result.bootstrap.means(result.errors(best, AT))
    low, high = np.quantile(gap, [0.05, 0.95])
    print(f"at {AT} sums: best {' '.join(best)} {result.errors(best, AT).mean():.4f} (probability {probability:.2f})")
    print(f"endtoend {result.errors(here, AT).mean():.4f}, behind the best by {gap.mean():.4f} [{low:.4f}, {high:.4f}]")


if __name__ == "__main__":
    main()
