"""What a base model is, and how one is trained and asked for predictions."""
