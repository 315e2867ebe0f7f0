"""A graph that grows as it runs: a join app looks at a result, and decides which tasks come next.

Adaptive quadrature: where a curve is smooth two estimates of its area agree, and where they do not the interval is halved.
"""

from __future__ import annotations

import math

import shoal
from shoal import TaskFuture


def curve(x: float) -> float:
    """Smooth but for a narrow peak."""
    return math.exp(-((x - 0.3) ** 2) / 1e-4) + x


@shoal.python_app
def estimate(left: float, right: float) -> tuple[float, float]:
    """The area under the curve by Simpson's rule, and how far that is from a coarser estimate."""
    middle = (left + right) / 2
    ends = curve(left) + curve(right)
    coarse = (right - left) / 6 * (ends + 4 * curve(middle))
    quarters = curve((left + middle) / 2) + curve((middle + right) / 2)
    fine = (right - left) / 12 * (ends + 2 * curve(middle) + 4 * quarters)
    return fine, abs(fine - coarse)


@shoal.python_app
def add(left: float, right: float) -> float:
    """The sum of two areas."""
    return left + right


@shoal.join_app
def area(left: float, right: float, tolerance: float) -> TaskFuture[float]:
    """The area, to a tolerance. No worker waits while the halves are worked on."""
    return refine(left, right, tolerance, estimate(left, right))


@shoal.join_app
def refine(left: float, right: float, tolerance: float, found: tuple[float, float]) -> TaskFuture[float] | float:
    """Take the estimate if it is good enough, else that of the halves."""
    value, error = found
    if error <= tolerance and right - left < 0.25:
        return value
    middle = (left + right) / 2
    return add(area(left, middle, tolerance / 2), area(middle, right, tolerance / 2))


def main() -> float:
    """The area from 0 to 1, and how many tasks it took."""
    with shoal.load() as session:
        total = area(0.0, 1.0, 1e-6).result()
        exact = 0.5 + math.sqrt(math.pi * 1e-4)
        print(f"area {total:.6f}, {abs(total - exact):.1e} off, after {len(session.view())} tasks")
        return total


if __name__ == "__main__":
    main()
