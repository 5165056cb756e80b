"""What tests, scripts and benchmarks share: Airflow and the sandbox as processes on loopback, a simulation.

``tests``, ``scripts`` and ``benchmarks`` import it; it imports none of them.
"""
