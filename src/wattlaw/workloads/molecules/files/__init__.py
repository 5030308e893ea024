"""Files of molecules: one reader a kind, recognised by what the file holds."""
