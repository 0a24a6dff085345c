"""Where pictures, sizes and truth come from."""
