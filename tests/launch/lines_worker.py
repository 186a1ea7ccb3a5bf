"""A process of a launch that prints many lines, each in several words."""

import os

if __name__ == "__main__":
    for number in range(2000):
        print("rank", os.environ["RANK"], "says", number)
