"""Results that are kept: keys by the content of code and arguments, and the store on disk that runs share."""
