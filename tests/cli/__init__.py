"""The command: its arguments, its output, its exit codes."""
