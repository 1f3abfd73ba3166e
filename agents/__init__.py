"""How steering policies are learned."""
