"""Sites, keys and repositories for the tests of ``dagctl``."""

from support.sitefixtures import keys, line, own_site, repo, shared_repo, site

__all__ = ["keys", "line", "own_site", "repo", "shared_repo", "site"]
