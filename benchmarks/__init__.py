"""The same work on Shoal and on its peers, measured in turn: ``make bench``.

``python -m benchmarks`` (see ``__main__``) makes a plan, runs each measurement in a process of its own, and writes one
table to docs/benchmarks.md. Reading order: ``cases`` (what is measured), ``peers`` (on what), ``plan``, ``runner``,
``figures``, ``report``.
"""
