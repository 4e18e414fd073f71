"""The `mmreward` command. One module per subcommand; nothing heavy is imported before one runs."""
