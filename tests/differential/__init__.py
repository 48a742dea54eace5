"""The same conversations with pywebsocket3 and with fastwsh, and what comes of them.

`scenarios` says what is played, `player` plays it, `outcome` makes answers comparable, and
`expected.toml` lists where the two differ on purpose.
"""
