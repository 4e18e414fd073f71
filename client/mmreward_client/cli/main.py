"""Entry point of `mmreward`: the command line is an extra, and says so where it is missing."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        print(f"{error.name} is missing: pip install 'mmreward[cli]'", file=sys.stderr)
        raise SystemExit(2) from None
    from mmreward_client.cli.app import app

    app()


if __name__ == "__main__":
    main()
