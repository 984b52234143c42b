"""Messages to people, and the secrets that must not be in them."""
