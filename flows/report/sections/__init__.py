"""The sections of a report: each of its functions returns what the page shows of a subject."""
