//! Nothing: the manifest beside this is what counts, and a package must have a source.
