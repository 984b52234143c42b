"""What a run is made of: its beginning, its stages and tasks, its record and folder, its page."""
