"""Databases: how each is asked so that it only reads, and how its columns are typed."""
