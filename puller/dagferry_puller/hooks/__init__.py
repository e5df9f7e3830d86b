"""What is done after a swap: a command, a webhook, a touched file. None of them can hold up or undo a swap."""
