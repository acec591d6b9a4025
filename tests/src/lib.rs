//! Black-box tests of whole processes. The tests themselves lie in `tests/`.
