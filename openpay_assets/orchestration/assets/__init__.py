"""Assets, one module a zone; each is a sentence, the work is a function below."""
