"""One subject a file; each has `races(plan, folder)`, which gives the races that it is made of."""
