"""Why a commit is not live: ``facts`` reads chain and clone, ``verdict`` (pure) says it in sentences with cures."""
