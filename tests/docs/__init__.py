"""The pages and examples of the documentation, run word for word.

A package: fixtures of its scope end with it, before another folder begins.
"""
