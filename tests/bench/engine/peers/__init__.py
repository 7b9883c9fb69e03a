"""One peer a file; each module has `CONTESTANTS`."""
