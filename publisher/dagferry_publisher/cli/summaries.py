"""What ``dagctl --help`` says of each command: the first sentence of its own help, so that it need not load them all.

A test compares them.
"""

from __future__ import annotations

COMMANDS = {
    "keygen": "Make an Ed25519 key pair: PATH.key and PATH.pub, PEM files that openssl reads too.",
    "publish": "Pack the DAGs at a commit, sign them, upload them, and make them live in one atomic step.",
    "rollback": "Bring every pod of a channel back, in seconds.",
    "hold": "Hold a channel where it is: publish and promote upload, and move nothing, until dagctl resume.",
    "resume": "Lift a hold, and say what the next publish meets.",
    "refresh": "Sign the live release again, with a new expiry; a hold stays.",
    "promote": "Move a channel to what another one has live, if its own trust rules accept that release.",
    "repair": "Bring back a pointer that is gone, damaged or behind its history: the newest copy that verifies.",
    "history": "Show what was deployed on a channel, newest first: when, what, by whom, why.",
    "list": "List the releases in the store, newest first, with what is live on the channel.",
    "show": "Show a release of the channel's history, its signatures checked, and when it was live.",
    "diff": "Show what changed between two releases of the channel's history, file by file.",
    "verify": "Check every signature, digest and link of a channel's chain, and the live archive.",
    "prune": "Remove history, releases and archives of the bundle that no channel needs any more.",
    "status": "Ask every pod what it has live, and say what is wrong.",
    "log": "Show what was done on all channels of the bundle, newest first: when, what, by whom, why.",
    "why": "Say why a commit is not live: a plain sentence and a line of cure for each reason.",
    "rollout": "Move a release from channel to channel: wait for the pods, pause, check, ask on a terminal, go on.",
    "announce": "Send a test to the webhooks that are told when a channel moved, or failed to.",
    "wait": "Wait until a commit is live on every pod, or Airflow has parsed what the channel is at, or for both.",
    "doctor": "Check store, bucket, rights, conditional writes, clock, latency, TLS, trust file, notifications.",
    "config": "Show every setting in effect and where it comes from: environment, context, or GitLab CI.",
}
GROUPS = {
    "trust": "Make, explain and edit a trust file.",
    "archive": "The canonical archive alone, without a store.",
    "setup": "Make a store ready for a bundle.",
    "context": "Named contexts of dagctl.toml and the user's file.",
}
