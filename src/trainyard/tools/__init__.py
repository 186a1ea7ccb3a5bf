"""Commands for those who run or change Trainyard."""
