"""Names by content: equal content, equal name."""
