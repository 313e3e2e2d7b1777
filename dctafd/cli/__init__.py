"""The command line: each module parses one command's options, calls the library and prints."""
