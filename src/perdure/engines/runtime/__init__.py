"""What every engine's running workflow needs: branches, maps, timeouts, deadlines."""
