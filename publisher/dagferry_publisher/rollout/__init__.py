"""Staged rollouts: a release moves from channel to channel; the chain itself remembers how far it is."""
