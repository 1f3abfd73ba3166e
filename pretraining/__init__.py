"""How the embedded generator and the embedded metric were made."""
