"""How the library shows what it found, and how far it is."""
