"""YCSB's core workload, executed without YCSB: its properties (`workload`), which record an operation asks for (`keys`), and the requests
that come of it (`execution`). The format that reads workload files and the made trace `ycsb:a` share it.
"""
