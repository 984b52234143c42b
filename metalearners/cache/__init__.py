"""Where fits outlive a process: storage, claims, and fits that are verified before they are read."""
