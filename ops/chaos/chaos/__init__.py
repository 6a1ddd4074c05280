"""Breaks a running Jumun on purpose, and proves that what it promises holds."""
