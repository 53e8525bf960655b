"""What a release is: pure values and functions, no I/O, no clock, no framework.

Times are aware UTC `datetime`s in whole milliseconds, durations are `timedelta`s, and `now` is always an argument.
msgspec is the one library allowed here: it makes the values frozen, comparable and storable.
"""
