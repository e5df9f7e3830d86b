"""``dagctl keygen``: make a key pair."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from dagferry_publisher import keyring
from dagferry_publisher.cli.command import JSON, command
from dagferry_publisher.cli.session import Cli
from dagferry_publisher.errors import UsageError
from dagferry_shared.keys import FileSigner


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "keygen", JSON)
    def keygen(
        cli: Cli,
        out: Annotated[Path, typer.Option("--out", metavar="PATH", help="Writes PATH.key (0600) and PATH.pub.")],
        passphrase_env: Annotated[
            str | None, typer.Option("--passphrase-env", metavar="NAME", help="Variable with a passphrase for the key.")
        ] = None,
    ) -> None:
        """Make an Ed25519 key pair: PATH.key and PATH.pub, PEM files that openssl reads too.

        Keep a release key where only CI's protected refs can read it, and a pointer key with who may roll back.

        \b
        Example: dagctl keygen --out ci-release
        """
        passphrase = os.environ.get(passphrase_env) if passphrase_env else None
        if passphrase_env and not passphrase:
            raise UsageError(f"--passphrase-env {passphrase_env} is not set, or empty")
        signer = FileSigner.generate()
        private, public = keyring.write_pair(out, signer, passphrase.encode() if passphrase else None)

        def show() -> None:
            cli.out.line(f"private key  {private}  (keep it secret; never commit it)")
            cli.out.line(f"public key   {public}")
            cli.out.line(f"key id       {signer.public.id}")

        cli.out.emit({"private": str(private), "public": str(public), "id": signer.public.id}, show)
