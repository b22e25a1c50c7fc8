"""Commands that search for the networks that certify best."""
