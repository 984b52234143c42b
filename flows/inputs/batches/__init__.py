"""From a source to batches of rows, each typed as all rows would be."""
