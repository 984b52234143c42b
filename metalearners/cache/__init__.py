"""Where fits outlive a process: storage, claims, verification before they are read."""
