"""Tested runs as pages, tables and figures."""
