"""What ``dagctl doctor`` looks at. Each check returns one Result, whatever the store answers."""
