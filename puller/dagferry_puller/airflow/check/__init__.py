"""``dagferry-check``: a tree is compiled, or its DAGs are loaded in a sandbox, before anybody uses it."""
