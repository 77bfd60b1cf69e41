#!/bin/sh
# The parts of the benchmark that read and judge figures (*_test.py), on recorded text.
exec python3 -m unittest discover -s tests/bench -p '*_test.py'
