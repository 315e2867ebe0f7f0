"""Monte Carlo pi, and the mean of three: independent tasks side by side, and one that takes their futures."""

from __future__ import annotations

import random

import shoal


@shoal.python_app
def pi(points: int, seed: int) -> float:
    """Estimate pi from points thrown at a square: four times the share that hits the circle inside."""
    chance = random.Random(seed)
    hits = sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(points))
    return 4 * hits / points


@shoal.python_app
def mean(a: float, b: float, c: float) -> float:
    """The mean of three numbers."""
    return (a + b + c) / 3


def main() -> float:
    """Three estimates at a time, and their mean."""
    with shoal.load():
        a, b, c = pi(10**6, seed=1), pi(10**6, seed=2), pi(10**6, seed=3)
        average = mean(a, b, c)  # futures go in as they are: it starts when all three are done
        print(f"a: {a.result():.5f} b: {b.result():.5f} c: {c.result():.5f}")
        print(f"mean: {average.result():.5f}")
        return average.result()


if __name__ == "__main__":
    main()
