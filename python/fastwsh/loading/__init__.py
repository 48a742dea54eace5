"""Handler files, `*_wsh.py`: finding them, loading them, and telling what is wrong with one.

`paths` finds the files, `source` reads and compiles one, `handler_modules` makes a module of it,
`handler_suite` takes what the module defines, and `loader` does all of this for a folder.
`handler_table` says which of them answers a resource. `reload` notices changed files.
"""
