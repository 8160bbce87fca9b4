"""What every layer reads: arrays, arguments, names, files, progress, Ctrl-C. It knows no statistics."""
