"""The demo: a town whose shoppers buy small things, built on the public interface as anyone would build on it.

``python -m obole_demo run`` starts the whole system and leaves it running to be clicked and called;
``python -m obole_demo batch`` plays one business day of ten thousand purchases to the last cent and ends.
Nothing here is imported by the wallet.
"""
