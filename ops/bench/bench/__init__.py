"""Measures what docs/performance.md tells of; a module a topic. `python3 -m bench --help` lists the sections."""
