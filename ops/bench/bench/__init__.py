"""Measures what docs/performance.md tells of. Each module is one topic; `python3 -m bench --help` lists the sections."""
