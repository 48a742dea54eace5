"""The process of a server: its start, its signals, its forks and its end."""
