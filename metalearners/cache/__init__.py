"""Where fits outlive a process: storage, claims, files verified before they are read."""
