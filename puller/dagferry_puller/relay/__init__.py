"""``dagferry-puller relay``: takes one notification and tells every pod. Stateless; a lost one costs a poll."""
