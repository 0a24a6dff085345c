"""Every figure that the README states: ``make bench`` prints them all, ``python -m benchmarks NAME`` one."""
