"""One module per command of `m2fnet`; each is imported only when it is run."""
