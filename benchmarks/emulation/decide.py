"""Decides on one slice a number of times: `python decide.py SLICE TIMES`. What is counted runs this."""

import sys

import falx

classifier = falx.load()
for _ in range(int(sys.argv[2])):
    prediction = classifier.predict(sys.argv[1])
print(classifier.engine, prediction.decision)
