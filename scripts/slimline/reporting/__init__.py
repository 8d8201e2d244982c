"""One offline page from the files of an experiment."""
