"""What is wrong with an installation, its folders and its server; changes nothing."""
