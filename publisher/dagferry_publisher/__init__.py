"""The publisher: commit → tree → canonical archive → release → store → pointer, and ``dagctl`` around it."""
