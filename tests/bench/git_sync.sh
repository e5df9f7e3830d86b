#!/bin/sh
# git_sync.sh URL ROOT: one sync by the git commands that git-sync 4.7 runs (its own Go binary is not in Debian nor on
# PyPI, so what it adds itself, about 20 ms at a start, is missing here).
set -eu
url=$1 root=$2
if [ ! -d "$root/.git" ]; then
  mkdir -p "$root"
  git init -q -b git-sync "$root"
  git -C "$root" config gc.auto 0
fi
cd "$root"
git fetch -q "$url" main --prune --no-auto-gc --depth 1
hash=$(git rev-parse 'FETCH_HEAD^{commit}')
old=$(readlink current || true)
if [ "$old" != ".worktrees/$hash" ]; then
  git worktree add -q --force --detach ".worktrees/$hash" "$hash" --no-checkout
  git -C ".worktrees/$hash" reset -q --hard "$hash" --
  ln -s ".worktrees/$hash" tmp-link
  mv -T tmp-link current
  git reset -q --soft "$hash" -- # so that the next fetch knows what is here
  if [ -n "$old" ]; then
    rm -rf "$old"
    git worktree prune
    git reflog expire --expire-unreachable=all --all
    git gc -q --auto
  fi
else
  git -C "$old" rev-parse HEAD >/dev/null
fi
