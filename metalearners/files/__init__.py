"""Files that others may have written: who may, whether they are whole, who holds them."""
