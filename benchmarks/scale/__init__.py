"""How far one interchange reaches: a real pool with thousands of managers that are connected, but do no work.

``make scale`` runs it; the figures go to docs/benchmarks.md by hand.
"""
