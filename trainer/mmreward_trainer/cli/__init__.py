"""The `mmreward-train` command, one module per subcommand."""
