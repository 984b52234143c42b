"""Digests: equal content has equal names."""
