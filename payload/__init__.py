"""What looks at tiles."""
