"""What a card can do, in one command."""
