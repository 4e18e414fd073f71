"""The `mmreward` command, one module per subcommand."""
