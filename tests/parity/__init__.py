"""The same submissions and programs, judged by our engine and by MLE-Dojo's own environment."""
