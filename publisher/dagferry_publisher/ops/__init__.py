"""The operations on a channel, one file each: a decision on the verified pointer, run through the transaction."""
