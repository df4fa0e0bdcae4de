"""What can be chosen, once for the window's forms, the command line and Python."""
